//! The description of the routes as a chapter: each operation with its parameters, its body, an example to paste and
//! its answers, then the shapes of the JSON.
//!
//! All of it is taken from the document that `/openapi.json` sends; descriptions in there are Markdown, as OpenAPI has
//! it.

mod shape;

use serde_json::{Map, Value};

use self::shape::{at, cell, constraints, kind, members};
use crate::http::openapi;

/// Where the examples of the manual expect the server.
const SERVER: &str = "http://127.0.0.1:7717";
const METHODS: [&str; 5] = ["get", "put", "post", "patch", "delete"];

/// The chapter.
pub(super) fn markdown() -> String {
    let document: Value = serde_json::from_str(openapi::DOCUMENT).unwrap_or_default();
    Api(&document).markdown()
}

struct Api<'a>(&'a Value);

/// An operation and what stands around it.
struct Operation<'a> {
    method: &'static str,
    path: &'a str,
    item: &'a Value,
    value: &'a Value,
}

impl<'a> Api<'a> {
    fn markdown(&self) -> String {
        let introduction = format!(
            "# The API\n\n{}\n\nExamples are for the [samples](../samples) and a server without tokens. With tokens, add \
             `-H \"authorization: Bearer $TOKEN\"`. [The document](/openapi.json), for clients and their generators, is \
             what this page is made from.\n",
            string(at(self.0, "info"), "description")
        );
        let operations: Vec<_> = self.operations().collect();
        let groups = items(at(self.0, "tags")).map(|tag| {
            let name = string(tag, "name");
            let is_in_group = |operation: &&Operation<'_>| items(at(operation.value, "tags")).any(|tag| tag == name);
            let of_group = operations.iter().filter(is_in_group).map(|operation| self.operation(operation));
            let head = format!("\n## {} {{#tag-{name}}}\n\n{}\n", capital(name), string(tag, "description"));
            head + &of_group.collect::<String>()
        });
        let shapes = entries(at(at(self.0, "components"), "schemas")).map(|(name, schema)| {
            format!("\n### {name} {{#{name}}}\n\n{}\n\n{}", string(schema, "description"), shape(schema))
        });
        let shapes = std::iter::once("\n## Shapes\n".to_owned()).chain(shapes);
        std::iter::once(introduction).chain(groups).chain(shapes).collect()
    }

    fn operations(&self) -> impl Iterator<Item = Operation<'a>> {
        entries(at(self.0, "paths")).flat_map(|(path, item)| {
            METHODS.into_iter().filter_map(move |method| {
                item.get(method).map(|value| Operation { method, path: path.as_str(), item, value })
            })
        })
    }

    fn operation(&self, operation: &Operation<'a>) -> String {
        let Operation { method, path, value, .. } = operation;
        let [id, summary, description] = ["operationId", "summary", "description"].map(|key| string(value, key));
        let method = method.to_uppercase();
        let parameters = self.parameters(operation);
        let rows = table("parameter | in | type |", parameters.iter().map(|parameter| parameter_row(parameter)));
        let bodies = entries(at(at(value, "requestBody"), "content"))
            .map(|(media_type, content)| format!("Body, `{media_type}`: {}\n\n", kind(at(content, "schema"))));
        let example = curl(operation, &parameters);
        let answers = entries(at(value, "responses"));
        let answers = answers.map(|(status, response)| answer_row(status, self.resolved(response)));
        format!(
            "\n### {summary} {{#{id}}}\n\n`{method} {path}`\n\n{description}\n\n{rows}{}```sh\n{example}\n```\n\n{}",
            bodies.collect::<String>(),
            table("answer | | body", answers),
        )
    }

    /// Those of the path, unless the operation has one of the same name, and its own.
    fn parameters(&self, operation: &Operation<'a>) -> Vec<&'a Value> {
        let [of_path, own] = [operation.item, operation.value].map(|holder| {
            let parameters = items(at(holder, "parameters")).map(|parameter| self.resolved(parameter));
            parameters.collect::<Vec<_>>()
        });
        let is_own = |parameter: &&Value| own.iter().any(|other| at(other, "name") == at(parameter, "name"));
        of_path.into_iter().filter(|parameter| !is_own(parameter)).chain(own.iter().copied()).collect()
    }

    /// Follows a reference within the document.
    fn resolved(&self, value: &'a Value) -> &'a Value {
        let pointer = at(value, "$ref").as_str().and_then(|reference| reference.strip_prefix('#'));
        pointer.and_then(|pointer| self.0.pointer(pointer)).unwrap_or(value)
    }
}

/// A table with these headings; nothing without rows.
fn table(headings: &str, rows: impl Iterator<Item = String>) -> String {
    let rows: String = rows.collect();
    let rule = "---|".repeat(headings.matches('|').count() + 1);
    if rows.is_empty() { rows } else { format!("| {headings} |\n|{rule}\n{rows}\n") }
}

fn parameter_row(parameter: &Value) -> String {
    let schema = at(parameter, "schema");
    let need = if at(parameter, "required") == true { ", required" } else { "" };
    let kind = cell(&format!("{}{}", kind(schema), constraints(schema)));
    let [name, place, text] = ["name", "in", "description"].map(|key| string(parameter, key));
    format!("| `{name}` | {place}{need} | {kind} | {} |\n", cell(text))
}

fn answer_row(status: &str, response: &Value) -> String {
    let bodies = entries(at(response, "content")).map(|(media_type, content)| {
        let codes = entries(at(content, "examples")).map(|(code, _)| format!("[`{code}`](/problems/{code})"));
        match media_type.as_str() {
            "application/problem+json" => codes.collect::<Vec<_>>().join(", "),
            _ => format!("`{media_type}` {}", kind(at(content, "schema"))),
        }
    });
    let headers = entries(at(response, "headers")).map(|(name, _)| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    let headers = if headers.is_empty() { headers } else { format!(" With {headers}.") };
    let bodies = bodies.collect::<Vec<_>>().join("; ");
    format!("| {status} | {}{headers} | {} |\n", cell(string(response, "description")), cell(&bodies))
}

/// The members of an object, or what else the schema says.
fn shape(schema: &Value) -> String {
    let rows = members(schema);
    if rows.is_empty() {
        return format!("{}{}\n", capital(&kind(schema)), constraints(schema));
    }
    table("member | type |", rows.into_iter())
}

/// A command that sends the operation, with the examples of the document.
fn curl(operation: &Operation<'_>, parameters: &[&Value]) -> String {
    let mut path = operation.path.to_owned();
    let mut query = Vec::new();
    for parameter in parameters {
        let name = string(parameter, "name");
        let example = shown(at(parameter, "example"));
        match string(parameter, "in") {
            "path" => path = path.replace(&format!("{{{name}}}"), &example),
            "query" if at(parameter, "required") == true => query.push(format!("{name}={example}")),
            _ => {}
        }
    }
    let query = if query.is_empty() { String::new() } else { format!("?{}", query.join("&")) };
    let method = match operation.method {
        "get" => String::new(),
        method => format!("-X {} ", method.to_uppercase()),
    };
    let body = entries(at(at(operation.value, "requestBody"), "content")).next().map(|(media_type, content)| {
        let several = entries(at(content, "examples")).map(|(_, example)| shown(at(example, "value")));
        let lines: Vec<_> = content.get("example").map(shown).into_iter().chain(several).collect();
        format!(" -H 'content-type: {media_type}' --data-binary '{}'", lines.join("\n"))
    });
    let is_file = operation.value.pointer("/responses/200/content/application~1octet-stream").is_some();
    let out = if is_file { " -o backup.redb" } else { "" };
    format!("curl -s {method}'{SERVER}{path}{query}'{}{out}", body.unwrap_or_default())
}

/// A value as it goes into a path or a body.
fn shown(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

fn string<'a>(value: &'a Value, key: &str) -> &'a str {
    at(value, key).as_str().unwrap_or_default()
}

fn items(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn entries(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().into_iter().flat_map(Map::iter)
}

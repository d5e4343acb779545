//! Schemas of JSON in words.

use serde_json::{Map, Value};

/// The type of a value, as Markdown.
pub(super) fn kind(schema: &Value) -> String {
    if let Some(name) = at(schema, "$ref").as_str().and_then(|reference| reference.rsplit('/').next()) {
        return format!("[{name}](#{name})");
    }
    if let Some(value) = schema.get("const") {
        return format!("`{value}`");
    }
    if let Some(values) = at(schema, "enum").as_array() {
        return values.iter().map(|value| format!("`{value}`")).collect::<Vec<_>>().join(", ");
    }
    for key in ["anyOf", "oneOf", "allOf"] {
        if let Some(choices) = at(schema, key).as_array() {
            let with_limits = |choice: &Value| format!("{}{}", kind(choice), constraints(choice));
            return choices.iter().map(with_limits).collect::<Vec<_>>().join(" or ");
        }
    }
    let in_words = |name: &str| match (name, at(schema, "format").as_str()) {
        ("array", _) => format!("list of {}", kind(at(schema, "items"))),
        ("string", Some(format)) => format!("string ({format})"),
        (name, _) => name.to_owned(),
    };
    match at(schema, "type") {
        Value::String(name) => in_words(name),
        Value::Array(names) => names.iter().filter_map(Value::as_str).map(in_words).collect::<Vec<_>>().join(" or "),
        _ => "any".to_owned(),
    }
}

/// The limits of a value, after a comma each.
pub(super) fn constraints(schema: &Value) -> String {
    let words = [
        ("minimum", "≥ "),
        ("exclusiveMinimum", "> "),
        ("maximum", "≤ "),
        ("minLength", "length ≥ "),
        ("maxLength", "length ≤ "),
        ("minItems", "items ≥ "),
        ("maxItems", "items ≤ "),
        ("pattern", "matches "),
        ("default", "unless given "),
    ];
    let limits = words.iter().filter_map(|(key, words)| match schema.get(key)? {
        Value::String(text) => Some(format!(", {words}`{text}`")),
        value => Some(format!(", {words}{value}")),
    });
    limits.collect()
}

/// The members of an object as rows of a table, those of objects in it too.
pub(super) fn members(schema: &Value) -> Vec<String> {
    let mut rows = Vec::new();
    add_members(&mut rows, "", schema);
    rows
}

fn add_members(rows: &mut Vec<String>, prefix: &str, schema: &Value) {
    for (name, member) in at(schema, "properties").as_object().into_iter().flat_map(Map::iter) {
        let is_required =
            at(schema, "required").as_array().is_some_and(|names| names.iter().any(|known| known == name));
        let need = if is_required { ", required" } else { "" };
        let kind = cell(&format!("{}{}{need}", kind(member), constraints(member)));
        let text = cell(at(member, "description").as_str().unwrap_or_default());
        rows.push(format!("| `{prefix}{name}` | {kind} | {text} |\n"));
        add_members(rows, &format!("{prefix}{name}."), member);
        add_members(rows, &format!("{prefix}{name}[]."), at(member, "items"));
    }
}

/// Text for a cell of a table.
pub(super) fn cell(text: &str) -> String {
    text.replace('\n', " ").replace('|', "\\|")
}

/// A member of an object; null if there is none.
pub(super) fn at<'a>(value: &'a Value, key: &str) -> &'a Value {
    value.get(key).unwrap_or(&Value::Null)
}

//! Chromium, driven by its driver: one window without a screen.
//!
//! A wait is a condition that the browser looks at by itself until it holds, so no test sleeps. Chromium takes much of
//! a small machine, so one runs at a time.

use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use fantoccini::wd::{TimeoutConfiguration, WebDriverCompatibleCommand};
use fantoccini::{Client, ClientBuilder, Locator};
use hyper::Method;
use hyper_util::client::legacy::connect::HttpConnector;
use serde_json::{Value, json};
use tokio::runtime::Runtime;
use url::{ParseError, Url};

use super::machine::has_tool;

/// Longer than any view takes to load, and shorter than the pause after which the page reads a view again by itself:
/// what the server tells of must not have to wait for that.
const PATIENCE: Duration = Duration::from_secs(20);
/// Chromium as root, and in a container of any kind. The names of other machines lead nowhere: the browser's own
/// services stay silent, and a page that asks another site fails.
const ARGUMENTS: [&str; 7] = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--hide-scrollbars",
    "--no-first-run",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
];

static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// A browser's window; closed when dropped.
pub(crate) struct Browser {
    /// `None` once it is closed.
    client: Option<Client>,
    runtime: Runtime,
    driver: Child,
    _turn: MutexGuard<'static, ()>,
}

/// A command that is Chromium's own.
#[derive(Debug)]
struct Own {
    path: &'static str,
    body: Value,
}

impl WebDriverCompatibleCommand for Own {
    fn endpoint(&self, base: &Url, session: Option<&str>) -> Result<Url, ParseError> {
        base.join(&format!("session/{}/{}", session.unwrap_or_default(), self.path))
    }

    fn method_and_body(&self, _: &Url) -> (Method, Option<String>) {
        (Method::POST, Some(self.body.to_string()))
    }
}

impl Browser {
    /// Starts one; `None`, and a line that says so, where Chromium or its driver is not installed.
    pub(crate) fn start() -> Option<Self> {
        if !has_tool("chromium") || !has_tool("chromedriver") {
            return None;
        }
        let turn = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
        let mut driver = Command::new("chromedriver").arg("--port=0").stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(driver.stdout.take().unwrap()).lines().map_while(Result::ok);
        let port =
            lines.find_map(|line| line.split_once("started successfully on port ").map(|(_, rest)| rest.to_owned()));
        let port = port.expect("the driver ended before it listened");
        // The output is read on, or the driver would block on a full pipe.
        std::thread::spawn(move || lines.for_each(drop));
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let capabilities = json!({
            "goog:chromeOptions": { "args": ARGUMENTS },
            "goog:loggingPrefs": { "browser": "ALL" },
        });
        let client = runtime.block_on(async {
            let mut builder = ClientBuilder::new(HttpConnector::new());
            builder.capabilities(capabilities.as_object().unwrap().clone());
            let client = builder.connect(&format!("http://127.0.0.1:{}", port.trim_end_matches('.'))).await.unwrap();
            let script = Some(PATIENCE);
            client.update_timeouts(TimeoutConfiguration::new(script, Some(PATIENCE), None)).await.unwrap();
            client
        });
        Some(Self { client: Some(client), runtime, driver, _turn: turn })
    }

    fn client(&self) -> &Client {
        self.client.as_ref().unwrap()
    }

    /// Opens an address as one that was typed in.
    #[track_caller]
    pub(crate) fn open(&self, address: &str) {
        self.runtime.block_on(self.client().goto(address)).unwrap();
    }

    /// Runs the body of a function in the page, and returns what it returns.
    #[track_caller]
    pub(crate) fn run(&self, script: &str) -> Value {
        self.runtime.block_on(self.client().execute(script, Vec::new())).unwrap()
    }

    /// Waits until the body of a function returns something that is true, and returns it.
    #[track_caller]
    pub(crate) fn until(&self, script: &str) -> Value {
        let waiting = format!(
            "const done = arguments[arguments.length - 1];
             const condition = () => {{ {script} }};
             const look = () => {{ const value = condition(); if (value) done(value); else setTimeout(look, 10); }};
             look();"
        );
        match self.runtime.block_on(self.client().execute_async(&waiting, Vec::new())) {
            Ok(value) => value,
            Err(error) => panic!("never true: {script}\n{error}\nthe page says:\n{}", self.text("body")),
        }
    }

    /// Waits until an element that a selector names has a text in it.
    #[track_caller]
    pub(crate) fn sees(&self, selector: &str, text: &str) {
        let (selector, text) = (json!(selector), json!(text));
        self.until(&format!(
            "return [...document.querySelectorAll({selector})].some((one) => one.innerText.includes({text}))"
        ));
    }

    /// The text that a person sees in an element.
    #[track_caller]
    pub(crate) fn text(&self, selector: &str) -> String {
        let script = format!("return document.querySelector({}).innerText", json!(selector));
        self.run(&script).as_str().unwrap().to_owned()
    }

    /// Types into a field once it is there, and presses Enter.
    #[track_caller]
    pub(crate) fn enter(&self, selector: &str, text: &str) {
        self.runtime.block_on(async {
            let field = self.client().wait().for_element(Locator::Css(selector)).await.unwrap();
            field.clear().await.unwrap();
            field.send_keys(&format!("{text}\u{e007}")).await.unwrap();
        });
    }

    /// Presses a key where the focus is.
    #[track_caller]
    pub(crate) fn press(&self, key: &str) {
        self.runtime.block_on(async {
            self.client().active_element().await.unwrap().send_keys(key).await.unwrap();
        });
    }

    /// Presses a button, or follows a link, once it is there.
    #[track_caller]
    pub(crate) fn click(&self, selector: &str) {
        self.runtime.block_on(async {
            self.client().wait().for_element(Locator::Css(selector)).await.unwrap().click().await.unwrap();
        });
    }

    /// Has the window be so wide and high, in a colour scheme: `light` or `dark`.
    #[track_caller]
    pub(crate) fn look(&self, width: u32, height: u32, scheme: &str) {
        let size = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": false });
        self.chromium("Emulation.setDeviceMetricsOverride", &size);
        let features = json!({ "features": [{ "name": "prefers-color-scheme", "value": scheme }] });
        self.chromium("Emulation.setEmulatedMedia", &features);
    }

    /// Has pages look as they are printed, on A4.
    #[track_caller]
    pub(crate) fn look_on_paper(&self) {
        self.look(794, 1123, "light");
        self.chromium("Emulation.setEmulatedMedia", &json!({ "media": "print" }));
    }

    /// Puts a picture of the window into `target/screens`.
    #[track_caller]
    pub(crate) fn picture(&self, name: &str) {
        let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target/screens");
        std::fs::create_dir_all(&folder).unwrap();
        let png = self.runtime.block_on(self.client().screenshot()).unwrap();
        std::fs::write(folder.join(format!("{name}.png")), png).unwrap();
    }

    /// What the page and the browser have complained of since the last time: errors of scripts, answers that are no
    /// success, breaches of the page's policy.
    #[track_caller]
    pub(crate) fn complaints(&self) -> Vec<String> {
        let log = self.own("se/log", json!({ "type": "browser" }));
        let entries = log.as_array().unwrap().iter();
        entries.map(|entry| format!("{}: {}", entry["level"], entry["message"])).collect()
    }

    fn chromium(&self, command: &str, parameters: &Value) {
        self.own("goog/cdp/execute", json!({ "cmd": command, "params": parameters }));
    }

    #[track_caller]
    fn own(&self, path: &'static str, body: Value) -> Value {
        self.runtime.block_on(self.client().issue_cmd(Own { path, body })).unwrap()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Chromium is the driver's child, and outlives a driver that is killed.
        if let Some(client) = self.client.take() {
            let _ = self.runtime.block_on(client.close());
        }
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}

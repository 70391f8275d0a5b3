//! A Docker plugin with fixed answers, enough for networks to be created.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::{Arc, Mutex};

/// A plugin that serves until the test's process ends.
pub(crate) struct ScriptedPlugin(Arc<Mutex<Script>>);

#[derive(Default)]
struct Script {
    /// Verb and body of every call.
    calls: Vec<(String, String)>,
    /// Sentences by the verb that they refuse.
    refusals: BTreeMap<String, String>,
}

impl ScriptedPlugin {
    /// Serves at `socket`.
    pub(crate) fn listen(socket: &Path) -> Self {
        let listener = UnixListener::bind(socket).unwrap();
        let script = Arc::new(Mutex::new(Script::default()));
        let shared = Arc::clone(&script);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let shared = Arc::clone(&shared);
                std::thread::spawn(move || serve(stream, &shared));
            }
        });
        Self(script)
    }

    /// What dockerd sent with each call of a verb, in order.
    pub(crate) fn bodies_of(&self, verb: &str) -> Vec<String> {
        let script = self.0.lock().unwrap();
        script.calls.iter().filter(|(called, _)| called == verb).map(|(_, body)| body.clone()).collect()
    }

    /// Refuses a verb from now on.
    pub(crate) fn refuse(&self, verb: &str, sentence: &str) {
        self.0.lock().unwrap().refusals.insert(verb.to_owned(), sentence.to_owned());
    }
}

/// Answers the requests of one connection.
fn serve(stream: UnixStream, script: &Mutex<Script>) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut writer = stream;
    while let Some((verb, body)) = request(&mut reader) {
        let (status, answer) = script.lock().unwrap().answer(&verb, &body);
        let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n", answer.len());
        if writer.write_all((head + &answer).as_bytes()).is_err() {
            return;
        }
    }
}

fn request(reader: &mut impl BufRead) -> Option<(String, String)> {
    let mut first = String::new();
    reader.read_line(&mut first).ok()?;
    let verb = first.split_whitespace().nth(1)?.trim_start_matches('/').to_owned();
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        if line.trim().is_empty() {
            break;
        }
        let length_of = |(name, value): (&str, &str)| {
            let value = value.trim().parse::<usize>().ok()?;
            name.eq_ignore_ascii_case("content-length").then_some(value)
        };
        length = line.split_once(':').and_then(length_of).unwrap_or(length);
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some((verb, String::from_utf8_lossy(&body).trim().to_owned()))
}

impl Script {
    fn answer(&mut self, verb: &str, body: &str) -> (&'static str, String) {
        self.calls.push((verb.to_owned(), body.to_owned()));
        if let Some(sentence) = self.refusals.get(verb) {
            return ("500 Internal Server Error", format!(r#"{{"Err":"{sentence}"}}"#));
        }
        let asked = |name: &str| {
            let (_, rest) = body.split_once(&format!("\"{name}\":\""))?;
            rest.split('"').next().map(str::to_owned)
        };
        let answer = match verb {
            "Plugin.Activate" => r#"{"Implements":["NetworkDriver","IpamDriver"]}"#.to_owned(),
            "NetworkDriver.GetCapabilities" => r#"{"Scope":"local","ConnectivityScope":"global"}"#.to_owned(),
            "IpamDriver.GetDefaultAddressSpaces" => {
                r#"{"LocalDefaultAddressSpace":"L","GlobalDefaultAddressSpace":"G"}"#.to_owned()
            }
            "IpamDriver.RequestPool" => {
                let pool = asked("Pool").unwrap_or_default();
                format!(r#"{{"PoolID":"{pool}","Pool":"{pool}"}}"#)
            }
            "IpamDriver.RequestAddress" => {
                format!(r#"{{"Address":"{}/16"}}"#, asked("Address").unwrap_or_default())
            }
            _ => "{}".to_owned(),
        };
        ("200 OK", answer)
    }
}

//! Fields of a JSON object, each read with an error that names it.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use serde_json::{Map, Value};
use shoal_types::IpNet;

/// A request that is no call: which field, and what is wrong with it. Nothing was done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Malformed {
    /// The body as a whole.
    #[error("the request's body {0}")]
    Body(String),
    /// One field, by its path: `IPv4Data[0].Pool`.
    #[error("{field}: {reason}")]
    Field { field: String, reason: String },
}

/// A JSON object and where it stands in the request.
pub(crate) struct Fields {
    path: String,
    map: Map<String, Value>,
}

impl Fields {
    /// Reads a request's body. An empty one is refused: dockerd sends it when it repeats a call after a broken
    /// connection, and no field may be taken for empty then.
    pub(crate) fn of_body(body: &[u8]) -> Result<Self, Malformed> {
        if body.is_empty() {
            return Err(Malformed::Body("is empty".to_owned()));
        }
        match serde_json::from_slice(body) {
            Ok(Value::Object(map)) => Ok(Self { path: String::new(), map }),
            Ok(other) => Err(Malformed::Body(format!("must be a JSON object, not {}", kind(&other)))),
            Err(error) => Err(Malformed::Body(format!("is not JSON: {error}"))),
        }
    }

    /// Text that must be there and not be empty.
    pub(crate) fn text(&self, name: &str) -> Result<&str, Malformed> {
        self.optional_text(name)?.ok_or_else(|| self.wrong(name, "is missing or empty"))
    }

    /// Text; `None` if it is missing, null or empty.
    pub(crate) fn optional_text(&self, name: &str) -> Result<Option<&str>, Malformed> {
        match self.map.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.as_str()).filter(|text| !text.is_empty())),
            Some(other) => Err(self.wrong(name, format!("must be text, not {}", kind(other)))),
        }
    }

    /// An opaque id of the engine's or ours: 1 to `longest` printable ASCII characters.
    pub(crate) fn id(&self, name: &str, longest: usize) -> Result<String, Malformed> {
        let id = self.text(name)?;
        if id.len() > longest || !id.bytes().all(|byte| byte.is_ascii_graphic()) {
            let rule = format!("must have at most {longest} printable characters");
            return Err(self.wrong(name, format!("\"{}\" is not an id: it {rule}", shorten(id))));
        }
        Ok(id.to_owned())
    }

    /// Text of a type of ours that must be there.
    pub(crate) fn parsed<T: FromStr<Err: fmt::Display>>(&self, name: &str) -> Result<T, Malformed> {
        self.text(name)?.parse().map_err(|error: T::Err| self.wrong(name, error.to_string()))
    }

    /// As [`Fields::parsed`]; `None` if it is missing, null or empty.
    pub(crate) fn optional_parsed<T: FromStr<Err: fmt::Display>>(
        &self,
        name: &str,
    ) -> Result<Option<T>, Malformed> {
        let text = self.optional_text(name)?;
        text.map(|text| text.parse().map_err(|error: T::Err| self.wrong(name, error.to_string()))).transpose()
    }

    /// A prefix without host bits; `None` if it is missing or empty.
    pub(crate) fn prefix(&self, name: &str) -> Result<Option<IpNet>, Malformed> {
        let Some(net) = self.cidr(name)? else { return Ok(None) };
        if net.trunc() != net {
            let reason = format!("{net} has host bits set; the subnet is {}", net.trunc());
            return Err(self.wrong(name, reason));
        }
        Ok(Some(net))
    }

    /// An address with its prefix length; `None` if it is missing or empty.
    pub(crate) fn cidr(&self, name: &str) -> Result<Option<IpNet>, Malformed> {
        let Some(text) = self.optional_text(name)? else { return Ok(None) };
        let refused =
            || format!("\"{}\" is not an address with a prefix length, such as 10.0.0.0/24", shorten(text));
        text.parse().map(Some).map_err(|_| self.wrong(name, refused()))
    }

    /// An address, with or without a prefix length, which is dropped; `None` if it is missing or empty.
    pub(crate) fn address(&self, name: &str) -> Result<Option<IpAddr>, Malformed> {
        let Some(text) = self.optional_text(name)? else { return Ok(None) };
        let address = text.parse().or_else(|_| text.parse::<IpNet>().map(|net| net.addr()));
        let refused = || format!("\"{}\" is not an address", shorten(text));
        address.map(Some).map_err(|_| self.wrong(name, refused()))
    }

    /// A truth value, also as the text "true" or "false"; false if it is missing or null.
    pub(crate) fn flag(&self, name: &str) -> Result<bool, Malformed> {
        match self.map.get(name) {
            None | Some(Value::Null) => Ok(false),
            Some(Value::Bool(flag)) => Ok(*flag),
            Some(Value::String(text)) if text == "true" || text == "false" => Ok(text == "true"),
            Some(other) => Err(self.wrong(name, format!("must be true or false, not {}", kind(other)))),
        }
    }

    /// Names with text; empty if it is missing or null. Values that are not text become their JSON text.
    pub(crate) fn texts(&self, name: &str) -> Result<BTreeMap<String, String>, Malformed> {
        let as_text = |value| match value {
            Value::String(text) => text,
            other => other.to_string(),
        };
        let entries = self.object(name)?.map(|fields| fields.map).unwrap_or_default();
        Ok(entries.into_iter().map(|(key, value)| (key, as_text(value))).collect())
    }

    /// An object; `None` if it is missing or null.
    pub(crate) fn object(&self, name: &str) -> Result<Option<Self>, Malformed> {
        match self.map.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::Object(map)) => {
                Ok(Some(Self { path: format!("{}{name}.", self.path), map: map.clone() }))
            }
            Some(other) => Err(self.wrong(name, format!("must be an object, not {}", kind(other)))),
        }
    }

    /// A list of objects; empty if it is missing or null.
    pub(crate) fn objects(&self, name: &str) -> Result<Vec<Self>, Malformed> {
        let items = match self.map.get(name) {
            None | Some(Value::Null) => return Ok(Vec::new()),
            Some(Value::Array(items)) => items,
            Some(other) => return Err(self.wrong(name, format!("must be a list, not {}", kind(other)))),
        };
        let object = |(index, item): (usize, &Value)| match item {
            Value::Object(map) => {
                Ok(Self { path: format!("{}{name}[{index}].", self.path), map: map.clone() })
            }
            other => Err(self.wrong(name, format!("must list objects, not {}", kind(other)))),
        };
        items.iter().enumerate().map(object).collect()
    }

    /// The names of all fields, in order.
    pub(crate) fn names(&self) -> Vec<&str> {
        self.map.keys().map(String::as_str).collect()
    }

    /// An error about the field `name` of this object.
    pub(crate) fn wrong(&self, name: &str, reason: impl Into<String>) -> Malformed {
        Malformed::Field { field: format!("{}{name}", self.path), reason: reason.into() }
    }
}

/// The start of a text that may be long, for a message.
pub(crate) fn shorten(text: &str) -> String {
    text.chars().take(80).collect()
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

//! Reads the configuration file: TOML, flat, known keys only.

use std::collections::BTreeMap;

use shoal_api::SettingSource;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::error::unknown_key;
use super::{ConfigError, File, KEYS, Raw};

/// What a file sets, by key, with the place of each.
pub(crate) type InFile = BTreeMap<&'static str, (SettingSource, Raw)>;

/// Reads a file's text.
///
/// # Errors
/// Text that is no TOML, an unknown key, a value of a kind that no setting has: with file and line.
pub(crate) fn read(file: &File<'_>) -> Result<InFile, ConfigError> {
    let table = DeTable::parse(file.text).map_err(|error| no_toml(file, &error))?;
    let mut found = InFile::new();
    for (name, value) in table.get_ref() {
        let line = line(file.text, name.span().start);
        let (key, raw) =
            entry(name.get_ref(), value).map_err(|problem| ConfigError::at_line(file.path, line, problem))?;
        found.insert(key, (SettingSource::File { path: file.path.to_owned(), line }, raw));
    }
    Ok(found)
}

fn entry(name: &str, value: &Spanned<DeValue<'_>>) -> Result<(&'static str, Raw), String> {
    let names: Vec<&str> = KEYS.iter().map(|key| key.name).collect();
    let key = KEYS.iter().find(|key| key.name == name).ok_or_else(|| unknown_key(name, &names))?;
    let raw = raw(value.get_ref()).ok_or_else(|| {
        format!(
            "{name}: a {} is given where text, a number or a list of texts is expected",
            value.get_ref().type_str()
        )
    })?;
    Ok((key.name, raw))
}

fn raw(value: &DeValue<'_>) -> Option<Raw> {
    match value {
        DeValue::String(text) => Some(Raw::Text(text.to_string())),
        DeValue::Integer(number) => {
            i64::from_str_radix(number.as_str(), number.radix()).ok().map(Raw::Number)
        }
        DeValue::Array(values) => values.iter().map(text).collect::<Option<_>>().map(Raw::List),
        _ => None,
    }
}

fn text(value: &Spanned<DeValue<'_>>) -> Option<String> {
    value.get_ref().as_str().map(str::to_owned)
}

fn no_toml(file: &File<'_>, error: &toml::de::Error) -> ConfigError {
    let line = line(file.text, error.span().map_or(0, |span| span.start));
    ConfigError::at_line(file.path, line, error.message().trim().replace('\n', "; "))
}

/// The line of a byte's place, counted from 1.
fn line(text: &str, at: usize) -> u32 {
    let before = text.as_bytes().iter().take(at);
    u32::try_from(before.filter(|byte| **byte == b'\n').count())
        .map_or(u32::MAX, |lines| lines.saturating_add(1))
}

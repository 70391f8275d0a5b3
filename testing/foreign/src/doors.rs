//! What comes from this machine: by a door, from its Docker, from its administrator's hand.

use std::collections::BTreeMap;
use std::path::Path;

use shoal_api::Command;
use shoal_config::{File, resolve};
use shoal_containers::DockerAnswer;

use crate::parts;

/// A request to the agent's own socket that can be read writes back to the same request.
pub(crate) fn admin_command(bytes: &[u8]) {
    let Ok(command) = serde_json::from_slice::<Command>(bytes) else { return };
    let written = serde_json::to_vec(&command).expect("a command can be written");
    let again: Command = serde_json::from_slice(&written).expect("a command that was written can be read");
    assert_eq!(again, command);
}

/// A call of dockerd: its path, then its body. A refusal is a sentence.
pub(crate) fn docker_call(bytes: &[u8]) {
    let [path, body] = parts(bytes)[..] else { return };
    let Ok(path) = std::str::from_utf8(path) else { return };
    if let Some(Err(sentence)) = shoal_docker::read_call(path, body) {
        assert!(!sentence.is_empty() && sentence.len() < 4_096, "a refusal is a sentence: {sentence}");
    }
}

/// The number of a question to Docker, then its answer.
pub(crate) fn docker_answer(bytes: &[u8]) {
    let Some((number, json)) = bytes.split_first() else { return };
    let question = DockerAnswer::ALL[usize::from(*number) % DockerAnswer::ALL.len()];
    if let Err(reason) = question.read(json) {
        assert!(!reason.is_empty(), "a refusal says why");
    }
}

/// The configuration file. What it sets is what the same settings in the environment set; a refusal names the file and
/// a line of it, or the two settings that exclude each other.
pub(crate) fn configuration_file(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let path = Path::new("/etc/shoal/config.toml");
    let none = BTreeMap::new();
    match resolve(&none, &BTreeMap::new(), Some(File { path, text })) {
        Ok(settings) => {
            let values = |settings: &shoal_config::Settings| {
                settings.shown().into_iter().map(|setting| (setting.key, setting.value)).collect::<Vec<_>>()
            };
            let shown = values(&settings);
            let variables =
                shown.iter().map(|(key, value)| (format!("SHOAL_{}", key.to_uppercase()), value.clone()));
            let again = resolve(&none, &variables.collect(), None).expect("what is shown can be set");
            assert_eq!(values(&again), shown);
        }
        Err(refused) => {
            let sentence = refused.to_string();
            let line = sentence.strip_prefix("/etc/shoal/config.toml, line ");
            let number = line.and_then(|rest| rest.split_once(": ")?.0.parse::<usize>().ok());
            let is_there = number.is_some_and(|number| number <= text.split('\n').count());
            assert!(is_there || sentence.contains(" are both "), "{sentence}");
        }
    }
}

//! What comes in by a door.

use shoal_api::Command;

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

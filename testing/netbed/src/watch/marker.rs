//! The marker that containers' payloads carry.

/// Sixteen bytes, all different, which payloads repeat for at least [`STRETCH`] bytes: the longest pattern that ping
/// takes. It must not be of printable words that anything else sends.
pub const MARKER: [u8; 16] = *b"\xf5hoal\x07MRK\xe3\x91\x1dpq\xb2\x0c";

/// How long a repeated marker is at least: what ping sends by default, without its time stamp, bytes.
pub(crate) const STRETCH: usize = 40;

/// A window that repeats of the marker are recognised by, bytes.
const WINDOW: usize = 8;

/// The marker as ping's `-p` takes it.
pub fn marker_hex() -> String {
    shoal_types::hex(&MARKER)
}

/// Whether a stretch of the marker is anywhere in a frame, whatever its first byte. Windows lie so close that one of
/// them falls wholly into any stretch; in other bytes one looks like it once in 2^60.
pub(crate) fn is_in(frame: &[u8]) -> bool {
    let step = STRETCH - WINDOW;
    frame.windows(WINDOW).step_by(step).any(is_of_it)
}

fn is_of_it(window: &[u8]) -> bool {
    let at = PLACES[usize::from(window[0])];
    at != NONE
        && window.iter().enumerate().all(|(offset, byte)| *byte == MARKER[(at + offset) % MARKER.len()])
}

const NONE: usize = usize::MAX;

/// Where in the marker a byte is.
const PLACES: [usize; 256] = {
    let mut places = [NONE; 256];
    let mut at = 0;
    while at < MARKER.len() {
        places[MARKER[at] as usize] = at;
        at += 1;
    }
    places
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stretch_is_found_wherever_it_begins_and_however_it_is_turned() {
        for before in 0..100 {
            for turn in 0..MARKER.len() {
                let mut frame = vec![0x55; before];
                frame.extend(MARKER.iter().cycle().skip(turn).take(STRETCH));
                frame.extend([0x55; 33]);
                assert!(is_in(&frame), "{before} bytes before, turned by {turn}");
            }
        }
    }

    #[test]
    fn other_bytes_are_not_taken_for_it() {
        assert!(!is_in(&[]));
        assert!(!is_in(&MARKER[..7]));
        assert!(!is_in(&(0..=255).cycle().take(9000).collect::<Vec<u8>>()));
        assert!(MARKER.iter().all(|byte| MARKER.iter().filter(|other| *other == byte).count() == 1));
    }
}

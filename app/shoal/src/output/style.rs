//! Colour, and its absence.

/// What a piece of text means; decides its colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tone {
    /// Nothing special.
    Plain,
    /// A heading.
    Head,
    /// As it should be.
    Good,
    /// Worth a look.
    Doubtful,
    /// Wrong.
    Bad,
    /// Of little interest.
    Faint,
}

/// Whether text may be coloured. Colour adds nothing that the words do not say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Style {
    colour: bool,
}

impl Style {
    /// With or without colour.
    pub(crate) fn new(colour: bool) -> Self {
        Self { colour }
    }

    /// The text in its tone's colour (ECMA-48, select graphic rendition).
    pub(crate) fn paint(self, tone: Tone, text: &str) -> String {
        let code = match tone {
            Tone::Plain => return text.to_owned(),
            Tone::Head => "1",
            Tone::Good => "32",
            Tone::Doubtful => "33",
            Tone::Bad => "31",
            Tone::Faint => "2",
        };
        if self.colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_colour_text_stays_as_it_is() {
        assert_eq!(Style::new(false).paint(Tone::Bad, "down"), "down");
        assert_eq!(Style::new(true).paint(Tone::Bad, "down"), "\x1b[31mdown\x1b[0m");
        assert_eq!(Style::new(true).paint(Tone::Plain, "up"), "up");
    }
}

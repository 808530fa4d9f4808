//! Telnet, as far as clients speak it to those who do not: RFC 854. What they ask for and offer is declined, what they say about
//! themselves is heard and forgotten; a client that speaks none of it never notices.

/// Interpret as command.
const IAC: u8 = 255;

/// Commands.
const DONT: u8 = 254;
const DO: u8 = 253;
const WONT: u8 = 252;
const WILL: u8 = 251;
const SUBNEGOTIATION: u8 = 250;
const ERASE_LINE: u8 = 248;
const ERASE_CHARACTER: u8 = 247;
const INTERRUPT_PROCESS: u8 = 244;
const BREAK: u8 = 243;
const SUBNEGOTIATION_END: u8 = 240;
const ABORT: u8 = 238;
const END_OF_FILE: u8 = 236;

/// The meaning of what a client sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Meant {
    /// A byte of text.
    Byte(u8),
    /// Take back the last character.
    EraseCharacter,
    /// Take back the line so far.
    EraseLine,
    /// End what runs.
    Interrupt,
    /// There is no more.
    End,
}

/// The place in what a client sends.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Telnet {
    /// In its text.
    #[default]
    Text,
    /// Behind an IAC.
    Command,
    /// Behind a DO, DONT, WILL or WONT, before its option.
    Negotiation(u8),
    /// In what it says about an option.
    Subnegotiation,
    /// There, behind an IAC.
    SubnegotiationCommand,
}

impl Telnet {
    /// Takes the next byte, and returns what is meant, if that is anything. What is to be answered goes to `replies`: three bytes
    /// for three.
    pub(super) fn take(&mut self, byte: u8, replies: &mut Vec<u8>) -> Option<Meant> {
        let (next, meant) = match (*self, byte) {
            (Self::Text, IAC) => (Self::Command, None),
            (Self::Text, _) | (Self::Command, IAC) => (Self::Text, Some(Meant::Byte(byte))),
            (Self::Command, DO | DONT | WILL | WONT) => (Self::Negotiation(byte), None),
            (Self::Command, SUBNEGOTIATION) => (Self::Subnegotiation, None),
            (Self::Command, command) => (Self::Text, meaning(command)),
            (Self::Negotiation(command), option) => {
                // Only what asks is answered, so that no answer is. Telnet shows nothing after Ctrl-C until it has this one.
                match command {
                    DO => replies.extend([IAC, WONT, option]),
                    WILL => replies.extend([IAC, DONT, option]),
                    _ => {}
                }
                (Self::Text, None)
            }
            (Self::Subnegotiation, IAC) => (Self::SubnegotiationCommand, None),
            (Self::SubnegotiationCommand, SUBNEGOTIATION_END) => (Self::Text, None),
            (Self::Subnegotiation | Self::SubnegotiationCommand, _) => (Self::Subnegotiation, None),
        };
        *self = next;
        meant
    }
}

const fn meaning(command: u8) -> Option<Meant> {
    match command {
        ERASE_LINE => Some(Meant::EraseLine),
        ERASE_CHARACTER => Some(Meant::EraseCharacter),
        INTERRUPT_PROCESS | BREAK | ABORT => Some(Meant::Interrupt),
        END_OF_FILE => Some(Meant::End),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(bytes: &[u8]) -> (Vec<Meant>, Vec<u8>) {
        let (mut telnet, mut replies) = (Telnet::default(), Vec::new());
        let meant = bytes.iter().filter_map(|byte| telnet.take(*byte, &mut replies)).collect();
        (meant, replies)
    }

    #[test]
    fn text_passes_and_offers_are_declined() {
        let text = |bytes: &[u8]| bytes.iter().copied().map(Meant::Byte).collect::<Vec<_>>();
        assert_eq!(taken(b"1 + 1\r\n"), (text(b"1 + 1\r\n"), Vec::new()));
        assert_eq!(taken(b"a\xff\xffb"), (text(b"a\xffb"), Vec::new()));
        assert_eq!(taken(b"a\xff\xfd\x06b"), (text(b"ab"), b"\xff\xfc\x06".to_vec()));
        assert_eq!(taken(b"\xff\xfb\x18\xff\xfc\x01\xff\xfe\x01"), (Vec::new(), b"\xff\xfe\x18".to_vec()));
        assert_eq!(taken(b"a\xff\xfa\x18\x00xterm\xff\xff\xff\xf0b"), (text(b"ab"), Vec::new()));
        assert_eq!(taken(b"\xff\xf4\xff\xf2"), (vec![Meant::Interrupt], Vec::new()));
    }
}

//! Frames written in hexadecimal, as people and tools write them: `0216`, `02 16`, `02:16`, `0x02, 0x16`.

use thiserror::Error;

/// Why a line is no frame.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("line {line}, column {column}: {problem}; write a frame as hexadecimal octets, such as 0216 or 02 16")]
pub struct HexError {
    pub line: usize,
    /// In characters, from 1.
    pub column: usize,
    pub problem: Problem,
}

/// What is wrong with it.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Problem {
    #[error("{0:?} is no hexadecimal digit")]
    NotADigit(char),
    #[error("this octet lacks its second digit")]
    HalfAnOctet,
}

/// Reads the octets in one line. Spaces, colons, commas and `0x` may stand between them.
pub(super) fn parse(line: usize, text: &str) -> Result<Vec<u8>, HexError> {
    let mut octets = Vec::with_capacity(text.len() / 2);
    // The digits of the octet being read, and whether `0x` could begin here.
    let mut high = None;
    let mut at_start = true;
    let mut characters = (1..).zip(text.chars()).peekable();
    while let Some((column, character)) = characters.next() {
        let error = |column, problem| Err(HexError { line, column, problem });
        if is_separator(character) {
            if high.is_some() {
                return error(column - 1, Problem::HalfAnOctet);
            }
            at_start = true;
            continue;
        }
        if at_start && character == '0' && characters.next_if(|(_, next)| matches!(next, 'x' | 'X')).is_some() {
            at_start = false;
            continue;
        }
        at_start = false;
        let Some(digit) = character.to_digit(16).and_then(|digit| u8::try_from(digit).ok()) else {
            return error(column, Problem::NotADigit(character));
        };
        match high.take() {
            None => high = Some(digit),
            Some(high) => octets.push(high << 4 | digit),
        }
    }
    if high.is_some() {
        return Err(HexError { line, column: text.chars().count(), problem: Problem::HalfAnOctet });
    }
    Ok(octets)
}

fn is_separator(character: char) -> bool {
    character.is_whitespace() || matches!(character, ':' | ',')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hexadecimal_is_read_as_people_write_it() {
        for text in ["0a0416", "0A 04 16", "0a:04:16", " 0x0A, 0x04,0x16 ", "0x0a0416", "0a\t04\t16"] {
            assert_eq!(parse(1, text), Ok(vec![0x0A, 0x04, 0x16]), "{text}");
        }
        assert_eq!(parse(1, ""), Ok(vec![]));
    }

    #[test]
    fn an_error_says_where_and_what() {
        for (text, column, problem) in [
            ("02 1g", 5, Problem::NotADigit('g')),
            ("0216é", 5, Problem::NotADigit('é')),
            ("02 1", 4, Problem::HalfAnOctet),
            ("0 216", 1, Problem::HalfAnOctet),
            ("020x16", 4, Problem::NotADigit('x')),
        ] {
            assert_eq!(parse(7, text), Err(HexError { line: 7, column, problem }), "{text}");
        }
        assert_eq!(
            parse(1, "02 1g").unwrap_err().to_string(),
            "line 1, column 5: 'g' is no hexadecimal digit; write a frame as hexadecimal octets, such as 0216 or 02 16"
        );
    }
}

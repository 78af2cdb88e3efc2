//! Thrift's compact protocol, as far as one must know it to walk over a struct
//! (<https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md>). The parquet library walks over fields that it does
//! not know in the same way, but however much they claim to hold: truth values in a list take no bytes there, and two billion of them
//! some seconds.

use std::io::Read;

/// Deepest nesting, as in the parquet library.
const MAX_DEPTH: u8 = 64;

/// Whether lists, sets and maps of a struct, the next one in `input`, claim more elements than there are bytes in `num_bytes`, its most.
pub(super) fn claims_too_much(input: impl Read, num_bytes: u64) -> bool {
    let mut walk = Walk { input, elements_left: num_bytes };
    matches!(walk.value(STRUCT, MAX_DEPTH), Err(Stop::Claims))
}

const STRUCT: u8 = 12;

struct Walk<R> {
    input: R,
    elements_left: u64,
}

/// Why a walk ends before the struct does.
enum Stop {
    /// More is claimed than can be there.
    Claims,
    /// The bytes end or are no struct, which the parquet library will say.
    Unreadable,
}

impl<R: Read> Walk<R> {
    fn byte(&mut self) -> Result<u8, Stop> {
        let mut byte = [0];
        self.input.read_exact(&mut byte).map_err(|_| Stop::Unreadable)?;
        Ok(byte[0])
    }

    fn varint(&mut self) -> Result<u64, Stop> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7F) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(Stop::Unreadable)
    }

    fn pass(&mut self, num_bytes: u64) -> Result<(), Stop> {
        let passed = std::io::copy(&mut self.input.by_ref().take(num_bytes), &mut std::io::sink());
        if passed.is_ok_and(|passed| passed == num_bytes) { Ok(()) } else { Err(Stop::Unreadable) }
    }

    /// Elements of `kinds` each, in turn.
    fn elements(&mut self, count: u64, kinds: &[u8], depth: u8) -> Result<(), Stop> {
        self.elements_left = self.elements_left.checked_sub(count).ok_or(Stop::Claims)?;
        (0..count).try_for_each(|_| kinds.iter().try_for_each(|kind| self.value(*kind, depth)))
    }

    fn value(&mut self, kind: u8, depth: u8) -> Result<(), Stop> {
        let depth = depth.checked_sub(1).ok_or(Stop::Unreadable)?;
        match kind {
            1 | 2 => Ok(()),
            3 => self.pass(1),
            4..=6 => self.varint().map(drop),
            7 => self.pass(8),
            8 => self.varint().and_then(|length| self.pass(length)),
            9 | 10 => {
                let head = self.byte()?;
                let count = if head >> 4 == 15 { self.varint()? } else { u64::from(head >> 4) };
                self.elements(count, &[head & 15], depth)
            }
            11 => match self.varint()? {
                0 => Ok(()),
                count => {
                    let kinds = self.byte()?;
                    self.elements(count, &[kinds >> 4, kinds & 15], depth)
                }
            },
            STRUCT => self.fields(depth),
            13 => self.pass(16),
            _ => Err(Stop::Unreadable),
        }
    }

    fn fields(&mut self, depth: u8) -> Result<(), Stop> {
        loop {
            let head = self.byte()?;
            if head & 15 == 0 {
                return Ok(());
            }
            if head >> 4 == 0 {
                self.varint()?;
            }
            self.value(head & 15, depth)?;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_struct_may_claim_as_many_elements_as_it_has_bytes() {
        // Fields 1 to 3: a list of `count` truth values, a text, a map of bytes to structs.
        let with = |count: u8| [0x19, 0xF1, count, 0x18, 2, b'a', b'b', 0x1B, 1, 0x3C, 7, 0, 0];
        let length = with(0).len() as u64;
        for (count, claims) in [(0, false), (length as u8 - 1, false), (length as u8, true), (127, true)] {
            assert_eq!(claims_too_much(&with(count)[..], length), claims, "{count}");
        }
        // A byte, an integer and a number before the list; each is passed over in full.
        let before = [0x13, 0xF1, 0x15, 0x80, 1, 0x17, 1, 2, 3, 4, 5, 6, 7, 8, 0x1D];
        let uuid_and_list = [[9; 16].as_slice(), &[0x19, 0xF1, 99, 0]].concat();
        assert!(claims_too_much(&[&before, &uuid_and_list[..]].concat()[..], 35));
        let long = [0x19, 0xF1, 0x80, 1];
        assert!(claims_too_much(&long[..], 127) && !claims_too_much(&long[..], 128), "a count of two bytes");
        let nested = [0x19; 200];
        assert!(!claims_too_much(&nested[..], 200), "what cannot be read claims nothing");
        let lists = [0x19, 0x29, 0xF1, 6, 0xF1, 6, 0];
        assert!(claims_too_much(&lists[..], 13) && !claims_too_much(&lists[..], 14), "all lists together");
    }
}

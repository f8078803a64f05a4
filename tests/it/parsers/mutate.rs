//! Inputs made of others: cut, joined, doubled, with bytes and words put in that parsers look for.

/// What the parsers here treat in a way of its own.
const WORDS: &[&[u8]] = &[
    b"",
    b"\0",
    b"%",
    b"%00",
    b"%C3",
    b"%zz",
    b"&",
    b"=",
    b"+",
    b";",
    b",",
    b"\"",
    b"\\",
    b"'",
    b"`",
    b"/*",
    b"--",
    b"$$",
    b"\n",
    b"\r\n",
    b"\t",
    b" ",
    b"{",
    b"}",
    b"[",
    b"]",
    b":",
    b"null",
    b"true",
    b"-1",
    b"0",
    b"1e400",
    b"9007199254740992",
    b"18446744073709551616",
    b"\\u0000",
    b"\\ud800",
    b"\xff",
    b"\xc3\xa9",
    b"\xe2\x80\xae",
    b"\xf0\x9f\x98\x80",
    b"\xef\xbb\xbf",
    b"\xc3\x9f",
    b"\xc4\xb0",
    b"//",
    b"../",
    b"#",
    b"?",
    b"@",
    b"[::1]",
    b"127.0.0.1",
    b"https://",
    b"javascript:",
    b"client_id=",
    b"(",
    b")",
    b"NULL",
    b"\\N",
    b"\\.",
    b"A",
    b"_",
    b"~",
];

/// Makes inputs; the same ones of the same seed (splitmix64).
pub(super) struct Mutator(u64);

impl Mutator {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`; 0 where there is none.
    fn below(&mut self, end: usize) -> usize {
        let end = u64::try_from(end).unwrap();
        usize::try_from(self.next().checked_rem(end).unwrap_or_default()).unwrap()
    }

    /// An input of one to six changes to one of the pool, of at most `longest` bytes.
    pub(super) fn make(&mut self, pool: &[Vec<u8>], longest: usize) -> Vec<u8> {
        let mut input = pool[self.below(pool.len())].clone();
        for _ in 0..=self.below(6) {
            self.change(&mut input, pool);
            input.truncate(longest);
        }
        input
    }

    fn change(&mut self, input: &mut Vec<u8>, pool: &[Vec<u8>]) {
        let (one, other) = (self.below(input.len() + 1), self.below(input.len() + 1));
        let (from, to) = (one.min(other), one.max(other));
        match self.below(9) {
            0 if !input.is_empty() => {
                let (at, bit) = (self.below(input.len()), self.below(8));
                input[at] ^= 1 << bit;
            }
            1 if !input.is_empty() => {
                let at = self.below(input.len());
                input[at] = u8::try_from(self.below(256)).unwrap();
            }
            2 => {
                // Short cuts find more than long ones.
                input.drain(from..to.min(from + 8));
            }
            3 => {
                input.drain(from..to);
            }
            4 => {
                let doubled = input[from..to].to_vec();
                input.splice(to..to, doubled);
            }
            5 => {
                let part = input[from..to.min(from + 4)].to_vec();
                let times = 1 << self.below(8);
                input.splice(to..to, part.repeat(times));
            }
            6 => {
                let donor = &pool[self.below(pool.len())];
                let (one, other) = (self.below(donor.len() + 1), self.below(donor.len() + 1));
                input.splice(from..to, donor[one.min(other)..one.max(other)].iter().copied());
            }
            _ => {
                let word = WORDS[self.below(WORDS.len())];
                let end = if self.below(2) == 0 {
                    from
                } else {
                    to.min(from + 4)
                };
                input.splice(from..end, word.iter().copied());
            }
        }
    }
}

//! The content that every task sends, and its check.

/// Bytes of a word of the protocol.
pub const WORD: usize = 8;
/// The size of every message.
pub const MESSAGE_BYTES: usize = 64;
/// The most that is written or compared at once.
pub const CHUNK: usize = 256 * 1024;
const PERIOD: usize = 65521;

/// The pattern, often enough for a [`CHUNK`] from any place of a period.
pub struct Pattern(Vec<u8>);

impl Pattern {
    /// Computes the table.
    pub fn new() -> Self {
        let byte = |i: usize| {
            let j = i % PERIOD;
            (j.wrapping_mul(131).wrapping_add((j >> 8) * 7) & 0xff) as u8
        };
        Self((0..PERIOD + CHUNK).map(byte).collect())
    }

    /// Returns `size` bytes from place `at`; `size` is at most [`CHUNK`].
    pub fn at(&self, at: u64, size: usize) -> &[u8] {
        let from = (at % PERIOD as u64) as usize;
        &self.0[from..from + size]
    }

    /// Says whether `data`, at most a [`CHUNK`], is the pattern from place `at`.
    pub fn is_at(&self, data: &[u8], at: u64) -> bool {
        data == self.at(at, data.len())
    }

    /// Returns message `n`: its number, then the pattern from `n`.
    pub fn message(&self, n: u64) -> [u8; MESSAGE_BYTES] {
        let mut message = [0; MESSAGE_BYTES];
        message[..WORD].copy_from_slice(&n.to_le_bytes());
        message[WORD..].copy_from_slice(self.at(n, MESSAGE_BYTES - WORD));
        message
    }

    /// Says whether `message` is message `n`.
    pub fn is_message(&self, message: &[u8], n: u64) -> bool {
        word(message, 0) == n && self.is_at(&message[WORD..], n)
    }
}

/// Returns word `index` of `data`.
pub fn word(data: &[u8], index: usize) -> u64 {
    let mut bytes = [0; WORD];
    bytes.copy_from_slice(&data[index * WORD..(index + 1) * WORD]);
    u64::from_le_bytes(bytes)
}

/// Flips a byte of `data` if the environment asks for a fault, so that a test can see that the
/// other end notices.
pub fn planted(data: &[u8]) -> Vec<u8> {
    let mut copy = data.to_vec();
    // Early, so that it arrives however slow the transport is, and not in a message's number.
    let place = copy.len().min(MESSAGE_BYTES).saturating_sub(1);
    if std::env::var_os("BENCH_PLANT_FAULT").is_some()
        && let Some(byte) = copy.get_mut(place)
    {
        *byte ^= 1;
    }
    copy
}

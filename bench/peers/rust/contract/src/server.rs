//! The server's half of every task.

use crate::clock::{instant, now};
use crate::pattern::{CHUNK, MESSAGE_BYTES, Pattern, WORD, planted, word};
use crate::{Connection, Endpoint};
use anyhow::{Result, bail, ensure};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::Notify;
use tokio::time::{timeout, timeout_at};

pub const HEADER_BYTES: usize = 4 * WORD;
/// Says in place of a number of delays that a message was wrong.
pub const WRONG_CONTENT: u64 = u64::MAX;
/// How long the last messages and the last answers may take.
pub const PATIENCE: Duration = Duration::from_secs(10);
/// What a server says to a handshake.
pub const HELLO: u8 = 0x21;
const MAX_COUNT: u64 = 1 << 27;

/// Serves clients until there are no more.
pub async fn serve<E: Endpoint>(endpoint: E) {
    let pattern = Arc::new(Pattern::new());
    while let Some(handshake) = endpoint.accept().await {
        let pattern = pattern.clone();
        tokio::spawn(async move {
            // One that fails is its client's affair.
            let Ok(connection) = handshake.await else { return };
            while let Ok((mut writer, mut reader)) = connection.accept().await {
                let (connection, pattern) = (connection.clone(), pattern.clone());
                tokio::spawn(async move {
                    let served =
                        serve_stream(&connection, &mut writer, &mut reader, &pattern).await;
                    if let Err(error) = served {
                        eprintln!("server: {error:#}");
                    }
                    // The client may be gone by now, which is no fault.
                    let _ = writer.shutdown().await;
                });
            }
        });
    }
}

/// Serves task after task until the client has finished.
async fn serve_stream<C: Connection>(
    connection: &C,
    writer: &mut C::Writer,
    reader: &mut C::Reader,
    pattern: &Pattern,
) -> Result<()> {
    let mut header = [0; HEADER_BYTES];
    while reader.read_exact(&mut header).await.is_ok() {
        let [task, a, b, c] = [0, 1, 2, 3].map(|index| word(&header, index));
        ensure!(task == 1 || a <= MAX_COUNT, "task {task} asks for {a}");
        match task {
            1 => return bulk(writer, reader, pattern, a + b).await,
            2 => messages(writer, reader, pattern, a).await?,
            3 => requests(writer, reader, a).await?,
            4 => realtime(connection, writer, reader, a).await?,
            5 => responses(writer, reader, pattern, [a, b, c]).await?,
            6 => writer.write_all(&planted(&[HELLO])).await?,
            _ => bail!("no task {task}"),
        }
    }
    Ok(())
}

async fn bulk(
    writer: &mut (impl AsyncWrite + Unpin),
    reader: &mut (impl AsyncRead + Unpin),
    pattern: &Pattern,
    end: u64,
) -> Result<()> {
    let mut buffer = vec![0; CHUNK];
    let (mut count, mut right) = (0, true);
    let deadline = instant(end);
    while let Ok(Ok(size @ 1..)) = timeout_at(deadline, reader.read(&mut buffer)).await {
        if now() >= end {
            break;
        }
        right &= pattern.is_at(&buffer[..size], count);
        count += size as u64;
    }
    writer.write_all(&[count.to_le_bytes(), u64::from(right).to_le_bytes()].concat()).await?;
    // What still comes is nobody's, but to close now could take the answer back.
    let drain = async { while let Ok(1..) = reader.read(&mut buffer).await {} };
    let _ = timeout(PATIENCE, drain).await;
    Ok(())
}

async fn messages(
    writer: &mut (impl AsyncWrite + Unpin),
    reader: &mut (impl AsyncRead + Unpin),
    pattern: &Pattern,
    count: u64,
) -> Result<()> {
    let mut buffer = vec![0; CHUNK];
    let (mut held, mut next, mut right) = (0, 0, true);
    while next < count {
        // Never past the last message: what follows is another task.
        let left = (count - next) * MESSAGE_BYTES as u64 - held as u64;
        let room = left.min((CHUNK - held) as u64) as usize;
        let size = reader.read(&mut buffer[held..held + room]).await?;
        ensure!(size > 0, "the stream ended after {next} of {count} messages");
        held += size;
        let whole = held - held % MESSAGE_BYTES;
        for message in buffer[..whole].chunks_exact(MESSAGE_BYTES) {
            right &= pattern.is_message(message, next);
            next += 1;
        }
        buffer.copy_within(whole..held, 0);
        held -= whole;
    }
    Ok(writer.write_all(&u64::from(right).to_le_bytes()).await?)
}

async fn requests(
    writer: &mut (impl AsyncWrite + Unpin),
    reader: &mut (impl AsyncRead + Unpin),
    count: u64,
) -> Result<()> {
    let mut message = [0; MESSAGE_BYTES];
    for _ in 0..count {
        reader.read_exact(&mut message).await?;
        writer.write_all(&planted(&message)).await?;
    }
    Ok(())
}

/// The one-way delays of messages that came once and right.
struct Delays {
    seen: Vec<bool>,
    taken: Vec<u64>,
    wrong: bool,
}

impl Delays {
    fn take(&mut self, message: &[u8], pattern: &Pattern) {
        let at = now();
        let right = message.len() == MESSAGE_BYTES && {
            let n = word(message, 0);
            let fresh = self.seen.get(n as usize) == Some(&false);
            fresh && pattern.is_at(&message[2 * WORD..], n)
        };
        if right {
            self.seen[word(message, 0) as usize] = true;
            self.taken.push(at.saturating_sub(word(message, 1)));
        } else {
            self.wrong = true;
        }
    }

    fn complete(&self) -> bool {
        self.taken.len() == self.seen.len()
    }
}

async fn realtime<C: Connection>(
    connection: &C,
    writer: &mut C::Writer,
    reader: &mut C::Reader,
    count: u64,
) -> Result<()> {
    let delays = Delays {
        seen: vec![false; count as usize],
        taken: Vec::with_capacity(count as usize),
        wrong: false,
    };
    let shared = Arc::new((Mutex::new(delays), Notify::new(), Pattern::new()));
    let taking = tokio::spawn(take_messages(connection.clone(), shared.clone()));
    let mut question = [0];
    reader.read_exact(&mut question).await?;
    let (delays, changed, _) = &*shared;
    let all = async {
        loop {
            let change = changed.notified();
            if delays.lock().is_ok_and(|delays| delays.complete()) {
                return;
            }
            change.await;
        }
    };
    let _ = timeout(PATIENCE / 2, all).await;
    taking.abort();
    let answer = match delays.lock() {
        Ok(delays) if !delays.wrong => {
            let number = delays.taken.len() as u64;
            [&[number], &delays.taken[..]].concat()
        }
        _ => vec![WRONG_CONTENT],
    };
    let answer: Vec<u8> = answer.iter().flat_map(|word| word.to_le_bytes()).collect();
    Ok(writer.write_all(&answer).await?)
}

async fn take_messages<C: Connection>(
    connection: C,
    shared: Arc<(Mutex<Delays>, Notify, Pattern)>,
) {
    // Messages begin in order, but the rest of each may come out of it.
    while let Ok(mut reader) = connection.accept_message().await {
        let shared = shared.clone();
        tokio::spawn(async move {
            let mut message = Vec::with_capacity(MESSAGE_BYTES);
            if reader.read_to_end(&mut message).await.is_ok() {
                let (delays, changed, pattern) = &*shared;
                if let Ok(mut delays) = delays.lock() {
                    delays.take(&message, pattern);
                }
                changed.notify_one();
            }
        });
    }
}

async fn responses(
    writer: &mut (impl AsyncWrite + Unpin),
    reader: &mut (impl AsyncRead + Unpin),
    pattern: &Pattern,
    [count, size, _pause]: [u64; 3],
) -> Result<()> {
    let mut message = [0; MESSAGE_BYTES];
    for n in 0..count {
        reader.read_exact(&mut message).await?;
        ensure!(pattern.is_message(&message, n), "request {n} is wrong");
        let mut at = 0;
        while at < size {
            let part = pattern.at(at, (size - at).min(CHUNK as u64) as usize);
            at += part.len() as u64;
            writer.write_all(&planted(part)).await?;
        }
    }
    Ok(())
}

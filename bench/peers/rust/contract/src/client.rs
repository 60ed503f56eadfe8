//! The client's half of every task.

use crate::clock::{instant, now};
use crate::command::Request;
use crate::pattern::{CHUNK, MESSAGE_BYTES, Pattern, WORD, planted, word};
use crate::server::{HELLO, PATIENCE, WRONG_CONTENT};
use crate::{Connection, Endpoint};
use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::task::{JoinSet, yield_now};
use tokio::time::{sleep, sleep_until, timeout, timeout_at};

const PAUSE_EVERY: u64 = 32;
const WRONG: &str = "the content is wrong";

/// Connects, does one task, and returns its result.
pub async fn perform<E: Endpoint>(endpoint: &E, task: &str, request: &Request) -> Result<Value> {
    if task == "handshake" {
        return handshakes(endpoint, request).await;
    }
    let start = now();
    let connection = endpoint.dial().await?;
    let (mut writer, mut reader) = connection.open().await?;
    let pattern = Pattern::new();
    let streams = (&mut writer, &mut reader);
    let mut done = match task {
        "bulk" => bulk::<E::Connection>(streams, &pattern, start, request).await?,
        "messages" => messages(streams, &pattern, request).await?,
        "request" => requests(streams, &pattern, request).await?,
        "realtime" => realtime(&connection, streams, &pattern, request).await?,
        "response" => responses(streams, &pattern, request).await?,
        _ => bail!("no task is called {task:?}"),
    };
    done["stats"] = connection.stats();
    connection.close();
    Ok(done)
}

fn header(words: [u64; 4]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

async fn read_words(reader: &mut (impl AsyncRead + Unpin), count: usize) -> Result<Vec<u64>> {
    let mut answer = vec![0; count * WORD];
    timeout(PATIENCE, reader.read_exact(&mut answer)).await.context("no answer in time")??;
    Ok((0..count).map(|index| word(&answer, index)).collect())
}

type Streams<'a, W, R> = (&'a mut W, &'a mut R);

async fn bulk<C: Connection>(
    (writer, reader): Streams<'_, C::Writer, C::Reader>,
    pattern: &Pattern,
    start: u64,
    request: &Request,
) -> Result<Value> {
    let duration = (request.seconds * 1e9) as u64;
    writer.write_all(&header([1, start, duration, 0])).await?;
    let deadline = instant(start + duration);
    let first = planted(pattern.at(0, CHUNK));
    if let Ok(written) = timeout_at(deadline, writer.write_all(&first)).await {
        written?;
        let mut at = CHUNK as u64;
        while let Ok(written) = timeout_at(deadline, writer.write_all(pattern.at(at, CHUNK))).await
        {
            written?;
            at += CHUNK as u64;
        }
    }
    C::abandon(writer);
    let answer = read_words(reader, 2).await?;
    ensure!(answer[1] == 1, WRONG);
    Ok(json!({"bytes": answer[0], "seconds": request.seconds, "ok": true}))
}

/// Returns how many to do after `count` took `seconds`: as many as the time asked for needs, and
/// some; never more than eightfold.
fn grown(count: u64, seconds: f64, request: &Request) -> u64 {
    let factor = if seconds > 0.0 { (1.2 * request.seconds / seconds).min(8.0) } else { 8.0 };
    (count + 1).max((count as f64 * factor) as u64)
}

fn seconds_since(began: u64) -> f64 {
    (now() - began) as f64 / 1e9
}

async fn messages<W: AsyncWrite + Unpin, R: AsyncRead + Unpin>(
    (writer, reader): Streams<'_, W, R>,
    pattern: &Pattern,
    request: &Request,
) -> Result<Value> {
    let mut count = if request.count > 0 { request.count } else { 1000 };
    loop {
        writer.write_all(&header([2, count, 0, 0])).await?;
        let began = now();
        for n in 0..count {
            let message = pattern.message(n);
            if n == count / 2 {
                writer.write_all(&planted(&message)).await?;
            } else {
                writer.write_all(&message).await?;
            }
            if n % PAUSE_EVERY == 0 {
                // A stream with room never waits, and what sends shares this thread.
                yield_now().await;
            }
        }
        let mut verdict = [0; WORD];
        reader.read_exact(&mut verdict).await?;
        let seconds = seconds_since(began);
        ensure!(word(&verdict, 0) == 1, WRONG);
        if request.count > 0 || seconds >= request.seconds {
            return Ok(json!({"count": count, "seconds": seconds, "ok": true}));
        }
        count = grown(count, seconds, request);
    }
}

async fn requests<W: AsyncWrite + Unpin, R: AsyncRead + Unpin>(
    (writer, reader): Streams<'_, W, R>,
    pattern: &Pattern,
    request: &Request,
) -> Result<Value> {
    let mut count = if request.count > 0 { request.count } else { 200 };
    loop {
        let mut latencies = Vec::with_capacity(count as usize);
        let mut answer = [0; MESSAGE_BYTES];
        writer.write_all(&header([3, count, 0, 0])).await?;
        let began = now();
        for n in 0..count {
            let message = pattern.message(n);
            let sent = now();
            writer.write_all(&message).await?;
            reader.read_exact(&mut answer).await?;
            latencies.push((now() - sent) as f64 / 1e3);
            ensure!(answer == message, WRONG);
        }
        let seconds = seconds_since(began);
        if request.count > 0 || seconds >= request.seconds {
            return Ok(json!({"latencies_us": latencies, "ok": true}));
        }
        count = grown(count, seconds, request);
    }
}

async fn realtime<C: Connection>(
    connection: &C,
    (writer, reader): Streams<'_, C::Writer, C::Reader>,
    pattern: &Pattern,
    request: &Request,
) -> Result<Value> {
    let interval = (1e9 / request.rate) as u64;
    let wanted = (request.seconds * request.rate) as u64;
    let count = if request.count > 0 { request.count } else { wanted.max(1) };
    writer.write_all(&header([4, count, interval, 0])).await?;
    let first = now() + interval;
    for n in 0..count {
        sleep_until(instant(first + n * interval)).await;
        let mut message = Vec::with_capacity(MESSAGE_BYTES);
        message.extend(n.to_le_bytes());
        message.extend(now().to_le_bytes());
        message.extend(pattern.at(n, MESSAGE_BYTES - 2 * WORD));
        if n == count / 2 {
            message = planted(&message);
        }
        connection.send_message(message).await?;
    }
    writer.write_all(&[1]).await?;
    let number = read_words(reader, 1).await?[0];
    ensure!(number != WRONG_CONTENT && number <= count, WRONG);
    let taken = read_words(reader, number as usize).await?;
    let delays: Vec<f64> = taken.iter().map(|&delay| delay as f64 / 1e3).collect();
    Ok(json!({"delays_us": delays, "missing": count - number, "ok": true}))
}

async fn responses<W: AsyncWrite + Unpin, R: AsyncRead + Unpin>(
    (writer, reader): Streams<'_, W, R>,
    pattern: &Pattern,
    request: &Request,
) -> Result<Value> {
    let count = if request.count > 0 { request.count } else { 100 };
    let pause = (request.pause * 1e9) as u64;
    writer.write_all(&header([5, count, request.size, pause])).await?;
    let mut buffer = vec![0; CHUNK];
    let mut times = Vec::with_capacity(count as usize);
    for n in 0..count {
        let sent = now();
        writer.write_all(&pattern.message(n)).await?;
        let mut at = 0;
        while at < request.size {
            let room = (request.size - at).min(CHUNK as u64) as usize;
            let size = reader.read(&mut buffer[..room]).await?;
            ensure!(size > 0, "the stream ended within response {n}");
            ensure!(pattern.is_at(&buffer[..size], at), WRONG);
            at += size as u64;
        }
        times.push((now() - sent) as f64 / 1e3);
        sleep(Duration::from_nanos(pause)).await;
    }
    Ok(json!({"times_us": times, "ok": true}))
}

/// Connects, sees one byte come back, and closes.
async fn handshake<E: Endpoint>(endpoint: &E) -> Result<()> {
    let connection = endpoint.dial().await?;
    let (mut writer, mut reader) = connection.open().await?;
    writer.write_all(&header([6, 0, 0, 0])).await?;
    let mut answer = [0];
    timeout(PATIENCE, reader.read_exact(&mut answer)).await.context("no answer in time")??;
    ensure!(answer[0] == HELLO, WRONG);
    connection.close();
    Ok(())
}

async fn handshakes<E: Endpoint>(endpoint: &E, request: &Request) -> Result<Value> {
    let mut count = if request.count > 0 { request.count } else { 20 };
    loop {
        let next = Arc::new(AtomicU64::new(0));
        let began = now();
        let mut workers = JoinSet::new();
        for _ in 0..request.parallel.max(1) {
            let (endpoint, next) = (endpoint.clone(), next.clone());
            workers.spawn(async move {
                loop {
                    let n = next.fetch_add(1, Ordering::Relaxed);
                    if n >= count {
                        return anyhow::Ok(());
                    }
                    handshake(&endpoint).await?;
                }
            });
        }
        while let Some(worker) = workers.join_next().await {
            worker??;
        }
        let seconds = seconds_since(began);
        if request.count > 0 || seconds >= request.seconds {
            return Ok(json!({"count": count, "seconds": seconds, "ok": true}));
        }
        count = grown(count, seconds, request);
    }
}

/// Makes connections that say nothing, and returns them.
pub async fn hold<E: Endpoint>(endpoint: &E, count: u64) -> Result<Vec<E::Connection>> {
    let mut held = Vec::with_capacity(count as usize);
    for n in 0..count {
        held.push(endpoint.dial().await.with_context(|| format!("after {n} connections"))?);
    }
    Ok(held)
}

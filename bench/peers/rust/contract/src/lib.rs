//! Performs the tasks of `bench/peers/README.md` over any transport that fits the traits below.
//! Knows no transport.

mod client;
mod clock;
mod command;
mod pattern;
mod server;

pub use command::{Options, main};

use anyhow::Result;
use serde_json::Value;
use std::future::Future;
use std::pin::Pin;
use tokio::io::{AsyncRead, AsyncWrite};

/// One connection, of either side.
pub trait Connection: Clone + Send + Sync + 'static {
    /// The writing half of a stream; its `shutdown` says that nothing more will come.
    type Writer: AsyncWrite + Unpin + Send + 'static;
    /// The reading half of a stream.
    type Reader: AsyncRead + Unpin + Send + 'static;

    /// Opens a stream towards the server.
    fn open(&self) -> impl Future<Output = Result<(Self::Writer, Self::Reader)>> + Send;
    /// Waits for the client's next stream; an error when the connection is over.
    fn accept(&self) -> impl Future<Output = Result<(Self::Writer, Self::Reader)>> + Send;
    /// Sends a message reliably and without order towards others.
    fn send_message(&self, message: Vec<u8>) -> impl Future<Output = Result<()>> + Send;
    /// Waits for the beginning of a message; its end is waited for elsewhere, since others may be
    /// complete before.
    fn accept_message(&self) -> impl Future<Output = Result<Self::Reader>> + Send;
    /// Gives up what was written and not sent yet.
    fn abandon(writer: &mut Self::Writer);
    /// Returns counters of the transport by the names of the contract.
    fn stats(&self) -> Value;
    /// Ends the connection.
    fn close(&self);
}

/// A connection that is being made.
pub type Handshake<C> = Pin<Box<dyn Future<Output = Result<C>> + Send>>;

/// One end of the transport: what listens, or what dials.
pub trait Endpoint: Clone + Send + Sync + 'static {
    /// What it makes.
    type Connection: Connection;

    /// Waits for a client, whose handshake is then waited for apart; `None` when there will be no
    /// more.
    fn accept(&self) -> impl Future<Output = Option<Handshake<Self::Connection>>> + Send;
    /// Connects to the server of the offer.
    fn dial(&self) -> impl Future<Output = Result<Self::Connection>> + Send;
    /// Waits until what was closed has been said to the other end.
    fn settle(&self) -> impl Future<Output = ()> + Send;
}

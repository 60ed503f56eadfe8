//! The peer of iroh: its fork of QUIC (noq) between two endpoints that know each other's address,
//! without relays, look-ups or port mapping. Messages are as for quinn.

use anyhow::{Context, Result, bail};
use contract::{Handshake, Options};
use iroh::endpoint::{
    self, ControllerFactory, QuicTransportConfig, RecvStream, SendStream, VarInt, presets,
};
use iroh::{EndpointAddr, EndpointId, RelayMode};
use noq_proto::congestion::{Bbr3Config, CubicConfig, NewRenoConfig};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

const ALPN: &[u8] = b"bench";
/// What overflows between the sockets leaves gaps, and the library ends a connection with too many.
const WINDOW: u32 = 4 << 20;
const IDLE: Duration = Duration::from_secs(600);
/// Fills an Ethernet packet from the start instead of after a search for it.
const MTU: u16 = 1452;
/// Messages at once; the library makes room for all of them when it connects.
const STREAMS: u32 = 256;

fn main() -> ExitCode {
    contract::main(listen, dialer)
}

fn transport(options: &Options) -> Result<QuicTransportConfig> {
    let controller: Arc<dyn ControllerFactory + Send + Sync> = match options.congestion.as_str() {
        "" | "cubic" => Arc::new(CubicConfig::default()),
        "bbr" => Arc::new(Bbr3Config::default()),
        "newreno" => Arc::new(NewRenoConfig::default()),
        other => bail!("iroh has the congestion controls cubic, bbr and newreno, not {other:?}"),
    };
    Ok(QuicTransportConfig::builder()
        .stream_receive_window(WINDOW.into())
        .receive_window(VarInt::from_u32(2 * WINDOW))
        .send_window(WINDOW.into())
        .max_concurrent_uni_streams(STREAMS.into())
        .initial_mtu(MTU)
        .max_idle_timeout(Some(IDLE.try_into()?))
        .congestion_controller_factory(controller)
        .build())
}

async fn endpoint(address: SocketAddr, options: &Options) -> Result<endpoint::Endpoint> {
    endpoint::Endpoint::builder(presets::Minimal)
        .relay_mode(RelayMode::Disabled)
        .clear_address_lookup()
        .alpns(vec![ALPN.to_vec()])
        .transport_config(transport(options)?)
        .clear_ip_transports()
        .bind_addr(address)?
        .bind()
        .await
        .context("the endpoint cannot be bound")
}

async fn listen(address: SocketAddr, options: Options) -> Result<(Endpoint, Value)> {
    let inner = endpoint(address, &options).await?;
    let port = inner.bound_sockets().first().context("no socket is bound")?.port();
    let offer = json!({"port": port, "id": inner.id().to_string()});
    let remote = EndpointAddr::new(inner.id());
    Ok((Endpoint { inner, remote }, offer))
}

async fn dialer(remote: SocketAddr, offer: Value, options: Options) -> Result<Endpoint> {
    let id: EndpointId = offer["id"].as_str().context("the offer has no id")?.parse()?;
    let any: SocketAddr =
        if remote.is_ipv4() { ([0, 0, 0, 0], 0).into() } else { "[::]:0".parse()? };
    let inner = endpoint(any, &options).await?;
    Ok(Endpoint { inner, remote: EndpointAddr::new(id).with_ip_addr(remote) })
}

#[derive(Clone)]
struct Endpoint {
    inner: endpoint::Endpoint,
    remote: EndpointAddr,
}

impl contract::Endpoint for Endpoint {
    type Connection = Connection;

    async fn accept(&self) -> Option<Handshake<Connection>> {
        let incoming = self.inner.accept().await?;
        Some(Box::pin(async move { Ok(Connection(incoming.await?)) }))
    }

    async fn dial(&self) -> Result<Connection> {
        Ok(Connection(self.inner.connect(self.remote.clone(), ALPN).await?))
    }

    async fn settle(&self) {
        self.inner.close().await;
    }
}

#[derive(Clone)]
struct Connection(endpoint::Connection);

impl contract::Connection for Connection {
    type Writer = SendStream;
    type Reader = RecvStream;

    async fn open(&self) -> Result<(SendStream, RecvStream)> {
        Ok(self.0.open_bi().await?)
    }

    async fn accept(&self) -> Result<(SendStream, RecvStream)> {
        Ok(self.0.accept_bi().await?)
    }

    async fn send_message(&self, message: Vec<u8>) -> Result<()> {
        let mut writer = self.0.open_uni().await?;
        writer.write_all(&message).await?;
        Ok(writer.finish()?)
    }

    async fn accept_message(&self) -> Result<RecvStream> {
        Ok(self.0.accept_uni().await?)
    }

    fn abandon(writer: &mut SendStream) {
        // Already over is as good.
        let _ = writer.reset(0u8.into());
    }

    fn stats(&self) -> Value {
        let stats = self.0.stats();
        json!({
            "packets_sent": stats.sent_packets,
            "packets_lost": stats.lost_packets,
            "bytes_lost": stats.lost_bytes,
        })
    }

    fn close(&self) {
        self.0.close(0u8.into(), b"");
    }
}

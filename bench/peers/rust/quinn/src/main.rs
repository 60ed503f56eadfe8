//! The peer of quinn: QUIC version 1 with AES-256-GCM, GSO and GRO as the library does by itself,
//! windows of 32 MiB. Messages without order go as unidirectional streams of one message each,
//! which is how QUIC has them when they must arrive.

use anyhow::{Context, Result, bail};
use contract::{Handshake, Options};
use quinn::congestion::{BbrConfig, CubicConfig, NewRenoConfig};
use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn::{
    ClientConfig, EndpointConfig, RecvStream, SendStream, ServerConfig, TransportConfig, VarInt,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::{Value, json};
use socket2::{Domain, Socket, Type};
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

const ALPN: &[u8] = b"bench";
const NAME: &str = "bench";
const WINDOW: u32 = 32 << 20;
const SOCKET_BUFFER: usize = 7 << 20;
const IDLE: Duration = Duration::from_secs(600);
/// Fills an Ethernet packet from the start instead of after a search for it.
const MTU: u16 = 1452;
/// Messages at once; the library makes room for all of them when it connects.
const STREAMS: u32 = 256;

fn main() -> ExitCode {
    contract::main(listen, dialer)
}

fn transport(options: &Options) -> Result<Arc<TransportConfig>> {
    let mut config = TransportConfig::default();
    config
        .stream_receive_window(WINDOW.into())
        .receive_window(VarInt::from_u32(2 * WINDOW))
        .send_window(WINDOW.into())
        .max_concurrent_uni_streams(STREAMS.into())
        .initial_mtu(MTU)
        .max_idle_timeout(Some(IDLE.try_into()?));
    match options.congestion.as_str() {
        "" | "cubic" => config.congestion_controller_factory(Arc::new(CubicConfig::default())),
        "bbr" => config.congestion_controller_factory(Arc::new(BbrConfig::default())),
        "newreno" => config.congestion_controller_factory(Arc::new(NewRenoConfig::default())),
        other => bail!("quinn has the congestion controls cubic, bbr and newreno, not {other:?}"),
    };
    Ok(Arc::new(config))
}

fn socket(address: SocketAddr) -> Result<std::net::UdpSocket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, None)?;
    socket.set_recv_buffer_size(SOCKET_BUFFER)?;
    socket.set_send_buffer_size(SOCKET_BUFFER)?;
    socket.bind(&address.into())?;
    Ok(socket.into())
}

fn endpoint(address: SocketAddr, server: Option<ServerConfig>) -> Result<quinn::Endpoint> {
    let runtime = Arc::new(quinn::TokioRuntime);
    Ok(quinn::Endpoint::new(EndpointConfig::default(), server, socket(address)?, runtime)?)
}

async fn listen(address: SocketAddr, options: Options) -> Result<(Endpoint, Value)> {
    let made = rcgen::generate_simple_self_signed([NAME.to_owned()])?;
    let key =
        PrivateKeyDer::try_from(made.signing_key.serialize_der()).map_err(anyhow::Error::msg)?;
    let certificate = made.cert.der();
    let mut tls = rustls::ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.clone()], key)?;
    tls.alpn_protocols = vec![ALPN.to_vec()];
    // Every handshake is a whole one.
    tls.send_tls13_tickets = 0;
    let mut config = ServerConfig::with_crypto(Arc::new(QuicServerConfig::try_from(tls)?));
    config.transport_config(transport(&options)?);
    let inner = endpoint(address, Some(config))?;
    let offer = json!({"port": inner.local_addr()?.port(), "certificate": certificate.to_vec()});
    Ok((Endpoint { inner, remote: address }, offer))
}

async fn dialer(remote: SocketAddr, offer: Value, options: Options) -> Result<Endpoint> {
    let der: Vec<u8> = serde_json::from_value(offer["certificate"].clone())
        .context("the offer has no certificate")?;
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from(der))?;
    let mut tls =
        rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    tls.alpn_protocols = vec![ALPN.to_vec()];
    let mut config = ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls)?));
    config.transport_config(transport(&options)?);
    let any: SocketAddr =
        if remote.is_ipv4() { ([0, 0, 0, 0], 0).into() } else { "[::]:0".parse()? };
    let mut inner = endpoint(any, None)?;
    inner.set_default_client_config(config);
    Ok(Endpoint { inner, remote })
}

#[derive(Clone)]
struct Endpoint {
    inner: quinn::Endpoint,
    remote: SocketAddr,
}

impl contract::Endpoint for Endpoint {
    type Connection = Connection;

    async fn accept(&self) -> Option<Handshake<Connection>> {
        let incoming = self.inner.accept().await?;
        Some(Box::pin(async move { Ok(Connection(incoming.await?)) }))
    }

    async fn dial(&self) -> Result<Connection> {
        Ok(Connection(self.inner.connect(self.remote, NAME)?.await?))
    }

    async fn settle(&self) {
        self.inner.wait_idle().await;
    }
}

#[derive(Clone)]
struct Connection(quinn::Connection);

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
        let path = self.0.stats().path;
        json!({
            "packets_sent": path.sent_packets,
            "packets_lost": path.lost_packets,
            "bytes_lost": path.lost_bytes,
            "congestion_window": path.cwnd,
            "smoothed_rtt_us": path.rtt.as_micros() as u64,
        })
    }

    fn close(&self) {
        self.0.close(0u8.into(), b"");
    }
}

//! The command line of a peer.

use crate::{Endpoint, client, server};
use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use std::future::Future;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;
use tokio::io::AsyncReadExt;

/// What the command line chose for the transport.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The congestion controller, or empty for the library's own choice.
    pub congestion: String,
    /// `loopback`, `wan`, `realtime`, or empty.
    pub profile: String,
}

/// What the command line chose for the task.
pub struct Request {
    pub seconds: f64,
    pub count: u64,
    pub size: u64,
    pub rate: f64,
    pub pause: f64,
    pub parallel: usize,
}

/// Is the whole program of a peer: `listen` returns an endpoint and its offer, `dialer` one that
/// connects to the address by an offer.
pub fn main<E, L, D>(
    listen: impl FnOnce(SocketAddr, Options) -> L,
    dialer: impl FnOnce(SocketAddr, Value, Options) -> D,
) -> ExitCode
where
    E: Endpoint,
    L: Future<Output = Result<(E, Value)>>,
    D: Future<Output = Result<E>>,
{
    // One thread per end: on the two cores that the ends share it has the better latency, and no
    // less of the rest.
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&error.into()),
    };
    let code = match runtime.block_on(run(listen, dialer)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error),
    };
    // Standard input may still be read by a thread that nothing can wake.
    runtime.shutdown_background();
    code
}

fn fail(error: &anyhow::Error) -> ExitCode {
    println!("{}", json!({"error": format!("{error:#}")}));
    ExitCode::FAILURE
}

async fn run<E, L, D>(
    listen: impl FnOnce(SocketAddr, Options) -> L,
    dialer: impl FnOnce(SocketAddr, Value, Options) -> D,
) -> Result<()>
where
    E: Endpoint,
    L: Future<Output = Result<(E, Value)>>,
    D: Future<Output = Result<E>>,
{
    let mut arguments = std::env::args().skip(1);
    let verb = arguments.next().context("say serve or run TASK")?;
    let task =
        if verb == "run" { arguments.next().context("run needs a task")? } else { String::new() };
    let mut options = Options::default();
    let mut request =
        Request { seconds: 2.0, count: 0, size: 20480, rate: 60.0, pause: 0.0, parallel: 1 };
    let mut address: SocketAddr = ([127, 0, 0, 1], 0).into();
    let mut offer = Value::Null;
    while let Some(name) = arguments.next() {
        let value = arguments.next().with_context(|| format!("{name} needs a value"))?;
        match name.as_str() {
            "--listen" | "--connect" => address = value.parse()?,
            "--offer" => offer = serde_json::from_str(&value)?,
            "--congestion" => options.congestion = value,
            "--profile" => options.profile = value,
            "--seconds" => request.seconds = value.parse()?,
            "--count" => request.count = value.parse()?,
            "--size" => request.size = value.parse()?,
            "--rate" => request.rate = value.parse()?,
            "--pause" => request.pause = value.parse()?,
            "--parallel" => request.parallel = value.parse()?,
            _ => bail!("no option is called {name}"),
        }
    }
    match verb.as_str() {
        "serve" => {
            let (endpoint, offer) = listen(address, options).await?;
            println!("{offer}");
            tokio::select! {
                () = server::serve(endpoint) => bail!("the endpoint ended"),
                () = input_ends() => Ok(()),
            }
        }
        "run" => {
            let endpoint = dialer(address, offer, options).await?;
            if task == "hold" {
                let held = client::hold(&endpoint, request.count).await?;
                println!("{}", json!({"held": held.len(), "ok": true}));
                input_ends().await;
                return Ok(());
            }
            println!("{}", client::perform(&endpoint, &task, &request).await?);
            let _ = tokio::time::timeout(Duration::from_millis(200), endpoint.settle()).await;
            Ok(())
        }
        _ => bail!("no verb is called {verb:?}"),
    }
}

async fn input_ends() {
    let (mut input, mut buffer) = (tokio::io::stdin(), [0; 64]);
    while let Ok(1..) = input.read(&mut buffer).await {}
}

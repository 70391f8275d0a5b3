//! What no dockerd sends.

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use http_body_util::Full;
use hyper::{Method, Request};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use super::repeats::{WITH_BODY, still_joined};
use crate::Dockerd;

/// A body that no driver needs to hold, bytes.
const HUGE: usize = 64 << 20;

/// Connections that say half of something.
const HALVES: usize = 64;

/// Runs `work` while a container is on a network, and looks whether that is as it was.
async fn beside_a_container<'a, F>(dockerd: &'a Dockerd, work: F) -> Result<()>
where
    F: Future<Output = Result<()>> + 'a,
{
    let network = dockerd.create_network().await?;
    let endpoint = dockerd.create_endpoint(&network).await?;
    dockerd.join(&network, &endpoint).await?;
    work.await?;
    still_joined(dockerd, &network, &endpoint).await?;
    dockerd.end(&network, &endpoint).await?;
    dockerd.remove_network(&network).await
}

pub(super) async fn garbage_in_a_body_is_refused(dockerd: &Dockerd) -> Result<()> {
    beside_a_container(dockerd, async {
        for verb in WITH_BODY {
            for body in bodies() {
                let shown = String::from_utf8_lossy(&body[..body.len().min(60)]).into_owned();
                let answer = dockerd.driver().post(verb, body).await.with_context(|| shown.clone())?;
                ensure!(answer.read(verb)?.is_err(), "{verb} with the body {shown:?} must be refused");
            }
        }
        Ok(())
    })
    .await
}

/// Bodies that say nothing: noise of several lengths, JSON of other shapes, cut off, or too deep to read.
fn bodies() -> Vec<Vec<u8>> {
    // A linear congruential generator (Knuth, MMIX): the same noise each time.
    let mut state = 1_u64;
    let mut noise = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33).to_le_bytes()[0]
    };
    let mut bodies: Vec<Vec<u8>> =
        [1, 3, 10, 100, 1000, 65_536].iter().map(|length| (0..*length).map(|_| noise()).collect()).collect();
    let texts = [
        "null",
        "0",
        "\"\"",
        "[{}]",
        "{",
        "{\"NetworkID\":",
        "{\"NetworkID\":{},\"EndpointID\":[],\"PoolID\":[],\"AddressSpace\":{}}",
        "{\"NetworkID\":7,\"EndpointID\":7,\"PoolID\":7,\"AddressSpace\":7,\"Pool\":7}",
        "{\"NetworkID\":\"\",\"EndpointID\":\"\",\"PoolID\":\"\",\"AddressSpace\":\"x\",\"Pool\":\"10.0.0.0/99\"}",
    ];
    bodies.extend(texts.iter().map(|text| text.as_bytes().to_vec()));
    bodies.push([b'['; 100_000].to_vec());
    bodies
}

pub(super) async fn what_is_no_call_is_refused(dockerd: &Dockerd) -> Result<()> {
    let driver = dockerd.driver();
    let unknown = driver.post("NetworkDriver.Fly", "{}").await?;
    // dockerd reads 404 as "not implemented", and anything else as a failure of something that is.
    ensure!(unknown.status == 404, "an unknown verb is answered {} instead of 404", unknown.status);
    for method in [Method::GET, Method::DELETE] {
        let request = Request::builder().method(method.clone()).uri("/NetworkDriver.Leave");
        let answer = driver.send(request.header("host", "plugin").body(Full::new(Bytes::new()))?).await?;
        ensure!(answer.status != 200, "{method} of a call is answered {answer:?}");
    }
    for noise in ["\0\0\0\0\r\n\r\n", "POST\r\n\r\n", "\u{1}\u{2}\n\n", "POST / HTTP/9.9\r\n\r\n"] {
        let mut stream = driver.connect().await?;
        stream.write_all(noise.as_bytes()).await?;
        stream.shutdown().await?;
        let mut answer = Vec::new();
        let read = timeout(driver.limit(), stream.read_to_end(&mut answer)).await;
        // That the connection is reset is an answer too.
        ensure!(read.is_ok(), "{noise:?} is neither answered nor hung up on");
        ensure!(!answer.starts_with(b"HTTP/1.1 200"), "{noise:?} is answered with success");
    }
    Ok(())
}

pub(super) async fn a_huge_body_is_refused(dockerd: &Dockerd) -> Result<()> {
    beside_a_container(dockerd, async {
        for verb in ["NetworkDriver.Leave", "IpamDriver.RequestAddress"] {
            // A driver may hang up before it has read all; what it must not do is carry it out.
            if let Ok(answer) = dockerd.driver().post(verb, vec![b' '; HUGE]).await {
                ensure!(answer.status != 200, "{verb} with {HUGE} bytes of nothing is answered {answer:?}");
            }
        }
        Ok(())
    })
    .await
}

/// A process that stops while it asks must not stop the others.
pub(super) async fn half_a_request_holds_nobody_up(dockerd: &Dockerd) -> Result<()> {
    let halves = ["", "POST /NetworkDriver.Join HT", "POST /NetworkDriver.Join HTTP/1.1\r\nhost: plugin\r\n"];
    let body =
        "POST /NetworkDriver.Join HTTP/1.1\r\nhost: plugin\r\ncontent-length: 500\r\n\r\n{\"NetworkID\":";
    let mut open = Vec::new();
    for half in halves.into_iter().chain([body]).cycle().take(HALVES) {
        let mut stream = dockerd.driver().connect().await?;
        stream.write_all(half.as_bytes()).await?;
        open.push(stream);
    }
    beside_a_container(dockerd, async { Ok(()) }).await?;
    drop(open);
    beside_a_container(dockerd, async { Ok(()) }).await
}

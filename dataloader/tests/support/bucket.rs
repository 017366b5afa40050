//! An S3 server over a folder, and before it a proxy that counts requests and spoils answers; all on the loopback device.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use dataloader::{DatasetSpec, StorageOptions};
use hyper_util::rt::TokioIo;
use s3s::auth::SimpleAuth;
use s3s::service::S3ServiceBuilder;

const USER: &str = "reader";
const SECRET: &str = "a secret of the tests";

/// What the proxy does to requests whose first line holds a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Answers "503 Service Unavailable".
    Unavailable,
    /// Takes the request and never answers.
    Stall,
    /// Sends the head and half of the body, and never goes on.
    StallInBody,
    /// Sends half of the body and closes the connection.
    CutBody,
    /// Waits before it passes the answer on.
    Slow(Duration),
    /// Announces fewer bytes than come.
    ShortLength,
    /// Announces more bytes than come.
    LongLength,
}

/// A fault for the next `times` requests that match.
struct Rule {
    matching: String,
    fault: Fault,
    times: usize,
}

/// A server with one bucket called `images`.
pub struct Bucket {
    address: SocketAddr,
    gets: Arc<Mutex<Vec<String>>>,
    rules: Arc<Mutex<Vec<Rule>>>,
    ended: Arc<AtomicBool>,
    _server: tokio::runtime::Runtime,
}

impl Bucket {
    /// Serves the folder `root`, whose folder `images` is the bucket.
    pub fn serve(root: &Path) -> Bucket {
        let server =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("runtime");
        let upstream = server.block_on(start_s3(root));
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let address = listener.local_addr().expect("bound");
        let (gets, rules, ended) = (Arc::default(), Arc::default(), Arc::new(AtomicBool::new(false)));
        let bucket = Bucket { address, gets, rules, ended, _server: server };
        let (gets, rules, ended) = (bucket.gets.clone(), bucket.rules.clone(), bucket.ended.clone());
        std::thread::spawn(move || {
            for client in listener.incoming() {
                let (gets, rules, ended) = (gets.clone(), rules.clone(), ended.clone());
                if ended.load(Ordering::Relaxed) {
                    return;
                }
                // A client that has gone away is no failure of the proxy.
                std::thread::spawn(move || client.and_then(|client| pass(client, upstream, &gets, &rules, &ended)));
            }
        });
        bucket
    }

    /// The first lines of the requests so far.
    pub fn requests(&self) -> Vec<String> {
        self.gets.lock().expect("whole").clone()
    }

    /// Spoils the next `times` requests whose first line holds `matching`.
    pub fn spoil(&self, matching: &str, fault: Fault, times: usize) {
        self.rules.lock().expect("whole").push(Rule { matching: matching.to_owned(), fault, times });
    }

    /// How the bucket is reached: short time-outs, and a cache in `cache`.
    pub fn options(&self, cache: &Path) -> StorageOptions {
        let settings = [
            ("AWS_ENDPOINT_URL", format!("http://{}", self.address)),
            ("AWS_ALLOW_HTTP", "true".to_owned()),
            ("AWS_REGION", "nowhere".to_owned()),
            ("AWS_ACCESS_KEY_ID", USER.to_owned()),
            ("AWS_SECRET_ACCESS_KEY", SECRET.to_owned()),
        ];
        StorageOptions {
            cache_dir: Some(cache.to_owned()),
            cache_bytes: 64 << 20,
            timeout: Duration::from_secs(20),
            retries: 2,
            backoff: Duration::from_millis(5),
            settings: settings.map(|(name, value)| (name.to_owned(), value)).into(),
            ..StorageOptions::default()
        }
    }

    /// The bucket as a data set of folders.
    pub fn data_set(&self, cache: &Path) -> DatasetSpec {
        DatasetSpec { storage: self.options(cache), ..DatasetSpec::folder("s3://images/set") }
    }
}

impl Drop for Bucket {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
        // Wakes the thread that listens.
        let _ = TcpStream::connect(self.address);
    }
}

async fn start_s3(root: &Path) -> SocketAddr {
    let files = s3s_fs::FileSystem::new(root).expect("a folder");
    let mut builder = S3ServiceBuilder::new(files);
    builder.set_auth(SimpleAuth::from_single(USER, SECRET));
    let service = builder.build().into_shared();
    let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
    let address = listener.local_addr().expect("bound");
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let serving = hyper_util::server::conn::auto::Builder::new(hyper_util::rt::TokioExecutor::new());
            let service = service.clone();
            tokio::spawn(async move {
                // A connection that the proxy closes early is part of the tests.
                let _ = serving.http1_only().serve_connection(TokioIo::new(stream), service).await;
            });
        }
    });
    address
}

/// Passes one request on and its answer back; connections are never used twice.
fn pass(
    mut client: TcpStream,
    upstream: SocketAddr,
    seen: &Mutex<Vec<String>>,
    rules: &Mutex<Vec<Rule>>,
    ended: &AtomicBool,
) -> io::Result<()> {
    let mut lines = BufReader::new(client.try_clone()?).lines();
    let Some(first) = lines.next().transpose()? else { return Ok(()) };
    let mut head = format!("{first}\r\n");
    for line in lines {
        let line = line?;
        if line.is_empty() {
            break;
        }
        if !line.to_ascii_lowercase().starts_with("connection:") {
            head.push_str(&format!("{line}\r\n"));
        }
    }
    head.push_str("connection: close\r\n\r\n");
    seen.lock().expect("whole").push(first.clone());
    let fault = due(rules, &first);
    match fault {
        Some(Fault::Unavailable) => {
            let busy = b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
            return client.write_all(busy);
        }
        Some(Fault::Stall) => return hold(ended),
        Some(Fault::Slow(delay)) => std::thread::sleep(delay),
        _ => {}
    }
    let mut server = TcpStream::connect(upstream)?;
    server.write_all(head.as_bytes())?;
    let mut answer = Vec::new();
    server.read_to_end(&mut answer)?;
    let body = answer.windows(4).position(|four| four == b"\r\n\r\n").map_or(answer.len(), |at| at + 4);
    let half = body + (answer.len() - body) / 2;
    match fault {
        Some(Fault::StallInBody) => {
            client.write_all(&answer[..half])?;
            hold(ended)
        }
        Some(Fault::CutBody) => client.write_all(&answer[..half]),
        Some(Fault::ShortLength) => client.write_all(&with_length(&answer, body, (answer.len() - body) / 2)),
        Some(Fault::LongLength) => client.write_all(&with_length(&answer, body, (answer.len() - body) * 2)),
        _ => client.write_all(&answer),
    }?;
    client.shutdown(Shutdown::Both)
}

fn due(rules: &Mutex<Vec<Rule>>, first: &str) -> Option<Fault> {
    let mut rules = rules.lock().expect("whole");
    let rule = rules.iter_mut().find(|rule| rule.times > 0 && first.contains(&rule.matching))?;
    rule.times -= 1;
    Some(rule.fault)
}

/// Keeps a connection open and silent until the test is over.
fn hold(ended: &AtomicBool) -> io::Result<()> {
    while !ended.load(Ordering::Relaxed) {
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}

fn with_length(answer: &[u8], body: usize, bytes: usize) -> Vec<u8> {
    let head = String::from_utf8_lossy(&answer[..body]);
    let lines = head.trim_end().lines().filter(|line| !line.to_ascii_lowercase().starts_with("content-length:"));
    let mut spoilt: Vec<u8> = lines.flat_map(|line| format!("{line}\r\n").into_bytes()).collect();
    spoilt.extend(format!("content-length: {bytes}\r\n\r\n").bytes());
    spoilt.extend(&answer[body..]);
    spoilt
}

//! The HTTP endpoint that Prometheus scrapes: one thread, one port, ended cleanly when dropped.

use std::{
    io,
    net::{IpAddr, SocketAddr, TcpListener},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread,
    time::Duration,
};

use tiny_http::{Header, Method, Request, Response, Server};

use crate::{Metrics, MetricsError};

/// How many ports are tried, from the one asked for upwards.
const PORTS_TRIED: u16 = 100;

/// How long dropping waits for an answer that is being sent.
const GRACE: Duration = Duration::from_secs(1);

/// A running endpoint. It answers until it is dropped.
pub struct Endpoint {
    address: SocketAddr,
    wanted: u16,
    server: Arc<Server>,
    stop: Arc<AtomicBool>,
    ended: mpsc::Receiver<()>,
}

impl Endpoint {
    /// Serves `metrics` at `host`:`port`. If the port is taken, the next free one of the 100 after it is used:
    /// [`address`](Self::address) and [`moved_from`](Self::moved_from) say so, for the log. Port 0 takes any free one.
    ///
    /// # Errors
    /// [`MetricsError::PortsTaken`] if there is none, [`MetricsError::Listen`] if the address is not this machine's or
    /// not permitted.
    pub fn start(metrics: &Metrics, host: IpAddr, port: u16) -> Result<Endpoint, MetricsError> {
        let listener = listen(host, port)?;
        let fail = |source| MetricsError::Listen { host, port, source };
        let address = listener.local_addr().map_err(fail)?;
        let server = Server::from_listener(listener, None).map_err(|error| fail(io::Error::other(error)))?;
        let (server, stop) = (Arc::new(server), Arc::new(AtomicBool::new(false)));
        let (end, ended) = mpsc::channel();
        let (metrics, its_server, its_stop) = (metrics.clone(), server.clone(), stop.clone());
        let body = move || {
            // Moved in: dropped at the end, which tells the one who waits.
            let _end = end;
            while !its_stop.load(Ordering::Acquire) {
                // An error is either our own call to end or one connection's trouble.
                if let Ok(request) = its_server.recv() {
                    answer(&metrics, request);
                }
            }
        };
        thread::Builder::new().name("metrics".into()).spawn(body).map_err(fail)?;
        Ok(Endpoint { address, wanted: port, server, stop, ended })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The port that was asked for, if another one had to be taken.
    pub fn moved_from(&self) -> Option<u16> {
        (self.wanted != 0 && self.wanted != self.address.port()).then_some(self.wanted)
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        self.server.unblock();
        // The thread's end closes the channel. A client that does not read its answer must not hold up the end of a run.
        let _ = self.ended.recv_timeout(GRACE);
    }
}

/// Checks that each of `ranks` ranks on one machine has a port: the first one `first`, each other the next. 0 is any free one.
///
/// # Errors
/// [`MetricsError::PortBeyondLast`] where the last rank's would be beyond 65535.
pub fn check_ports(first: u16, ranks: usize) -> Result<(), MetricsError> {
    match ranks.checked_sub(1).and_then(|last| port_of_rank(first, last)) {
        Some(_) => Ok(()),
        None => Err(MetricsError::PortBeyondLast { first, ranks }),
    }
}

/// The port of the rank with this number on its machine; none beyond 65535.
pub fn port_of_rank(first: u16, local_rank: usize) -> Option<u16> {
    if first == 0 { Some(0) } else { first.checked_add(u16::try_from(local_rank).ok()?) }
}

fn listen(host: IpAddr, port: u16) -> Result<TcpListener, MetricsError> {
    let last = port.saturating_add(PORTS_TRIED);
    for candidate in port..=last {
        match TcpListener::bind((host, candidate)) {
            Ok(listener) => return Ok(listener),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
            Err(source) => return Err(MetricsError::Listen { host, port: candidate, source }),
        }
    }
    Err(MetricsError::PortsTaken { host, first: port, last })
}

fn answer(metrics: &Metrics, request: Request) {
    let path = request.url().split('?').next().unwrap_or_default();
    let (status, kind, body) = match (request.method(), path) {
        (Method::Get | Method::Head, "/metrics") => (200, "text/plain; version=0.0.4; charset=utf-8", metrics.text()),
        (Method::Get | Method::Head, "/") => (200, "text/plain; charset=utf-8", front_page(metrics)),
        (Method::Get | Method::Head, _) => (404, "text/plain; charset=utf-8", "not here; see /metrics\n".to_owned()),
        _ => (405, "text/plain; charset=utf-8", "only GET and HEAD\n".to_owned()),
    };
    let kind = Header::from_bytes("Content-Type", kind).expect("both are ASCII");
    // A client that went away is no concern of ours.
    let _ = request.respond(Response::from_string(body).with_status_code(status).with_header(kind));
}

fn front_page(metrics: &Metrics) -> String {
    let identity = metrics.identity();
    format!(
        "Rectify: run {}, rank {} on {}\nmetrics for Prometheus: /metrics\n",
        identity.run, identity.rank, identity.host
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_have_ports_in_a_row_or_free_ones() {
        assert_eq!([0, 1, 7].map(|rank| port_of_rank(9400, rank)), [Some(9400), Some(9401), Some(9407)]);
        assert_eq!([0, 1, 70_000].map(|rank| port_of_rank(0, rank)), [Some(0); 3]);
        assert_eq!([0, 1, 70_000].map(|rank| port_of_rank(65535, rank)), [Some(65535), None, None]);
        for (first, ranks, fits) in
            [(65535, 1, true), (65535, 2, false), (65528, 8, true), (65529, 8, false), (0, 512, true)]
        {
            assert_eq!(check_ports(first, ranks).is_ok(), fits, "{ranks} ranks from {first}");
        }
        let words = check_ports(65530, 8).expect_err("too many").to_string();
        assert!(words.contains("65530") && words.contains("at most 65528") && words.contains("or 0"), "{words}");
    }
}

//! Log lines are written by a thread of their own: whoever reads our standard error may be slow or stand still,
//! and requests must not wait for that. Lines that find no room are counted and dropped.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::time::Duration;

use tracing_subscriber::fmt::MakeWriter;

/// Lines that wait at most.
const MAX_WAITING: usize = 8192;

enum Message {
    Line(Vec<u8>),
    Finish(SyncSender<()>),
}

/// Where log lines are handed in.
#[derive(Clone)]
pub struct LogWriter {
    lines: SyncSender<Message>,
    dropped: Arc<AtomicU64>,
}

impl LogWriter {
    pub(super) fn start() -> Self {
        let (lines, queue) = sync_channel(MAX_WAITING);
        let dropped = Arc::new(AtomicU64::new(0));
        let lost = Arc::clone(&dropped);
        let spawned = std::thread::Builder::new()
            .name("logs".to_owned())
            .spawn(move || run(&queue, &lost));
        if let Err(error) = spawned {
            let _ = writeln!(std::io::stderr(), "no thread for logs: {error}");
        }
        Self { lines, dropped }
    }

    /// Waits, within limits, until everything that was handed in is written.
    pub(super) fn finish(&self, at_most: Duration) {
        let (done, finished) = sync_channel(1);
        if self.lines.try_send(Message::Finish(done)).is_ok() {
            let _ = finished.recv_timeout(at_most);
        }
    }
}

fn run(queue: &Receiver<Message>, dropped: &AtomicU64) {
    let mut out = std::io::stderr();
    while let Ok(message) = queue.recv() {
        // Nothing can be done about a standard error that is gone.
        let _ = match message {
            Message::Line(line) => out.write_all(&line),
            Message::Finish(done) => {
                let _ = done.send(());
                Ok(())
            }
        };
        let lost = dropped.swap(0, Ordering::Relaxed);
        if lost > 0 {
            let _ = writeln!(
                out,
                "{lost} log lines were dropped: standard error is read too slowly"
            );
        }
    }
}

/// One line on its way.
pub struct Line<'a>(&'a LogWriter);

impl Write for Line<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        match self.0.lines.try_send(Message::Line(bytes.to_vec())) {
            Ok(()) => {}
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {
                self.0.dropped.fetch_add(1, Ordering::Relaxed);
            }
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for LogWriter {
    type Writer = Line<'a>;

    fn make_writer(&'a self) -> Line<'a> {
        Line(self)
    }
}

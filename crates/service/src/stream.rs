//! A connection, in clear or under TLS. Reading borrows one buffer of the whole service, so an idle connection holds none.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::{client, server};

/// Octets of the buffer.
const BUFFER: usize = 64 * 1024;
/// How long a peer may take to read what we send, each time.
const WRITE_TIME_MAX: Duration = Duration::from_secs(180);
/// How long a close may take.
const CLOSE_TIME_MAX: Duration = Duration::from_secs(5);

/// The buffer into which every connection reads.
#[derive(Clone)]
pub(crate) struct Buffer(Rc<RefCell<Vec<u8>>>);

impl Buffer {
    pub(crate) fn new() -> Self {
        Self(Rc::new(RefCell::new(vec![0; BUFFER])))
    }
}

pub(crate) enum Stream {
    Plain(TcpStream),
    Server(Box<server::TlsStream<TcpStream>>),
    Client(Box<client::TlsStream<TcpStream>>),
}

impl Stream {
    /// Reads once, and hands what came to `take` while the buffer is held; no octets at the end.
    pub(crate) async fn read<T>(
        &mut self,
        buffer: &Buffer,
        mut take: impl FnMut(&[u8]) -> T,
    ) -> io::Result<T> {
        poll_fn(|cx| {
            let mut buffer = buffer.0.borrow_mut();
            let mut read = ReadBuf::new(&mut buffer);
            match self.poll_read(cx, &mut read) {
                Poll::Ready(Ok(())) => Poll::Ready(Ok(take(read.filled()))),
                Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
                Poll::Pending => Poll::Pending,
            }
        })
        .await
    }

    fn poll_read(&mut self, cx: &mut Context<'_>, read: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, read),
            Self::Server(stream) => Pin::new(stream.as_mut()).poll_read(cx, read),
            Self::Client(stream) => Pin::new(stream.as_mut()).poll_read(cx, read),
        }
    }

    /// Writes everything, or says that the peer does not read.
    pub(crate) async fn write(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        if let Self::Plain(stream) = self {
            // Almost always the socket has room: no timer is needed then.
            match stream.try_write(bytes) {
                Ok(written) if written == bytes.len() => return Ok(()),
                Ok(written) => bytes = &bytes[written..],
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
        let writing = async {
            match self {
                Self::Plain(stream) => stream.write_all(bytes).await,
                Self::Server(stream) => flushed(stream.as_mut(), bytes).await,
                Self::Client(stream) => flushed(stream.as_mut(), bytes).await,
            }
        };
        match tokio::time::timeout(WRITE_TIME_MAX, writing).await {
            Ok(result) => result,
            Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, "the peer does not read what we send")),
        }
    }

    /// Closes in order, as far as the peer lets us.
    pub(crate) async fn close(mut self) {
        let closing = async {
            let _ = match &mut self {
                Self::Plain(stream) => stream.shutdown().await,
                Self::Server(stream) => stream.shutdown().await,
                Self::Client(stream) => stream.shutdown().await,
            };
        };
        let _ = tokio::time::timeout(CLOSE_TIME_MAX, closing).await;
    }

    pub(crate) fn into_plain(self) -> Option<TcpStream> {
        match self {
            Self::Plain(stream) => Some(stream),
            Self::Server(_) | Self::Client(_) => None,
        }
    }
}

async fn flushed<S: AsyncWrite + Unpin>(stream: &mut S, bytes: &[u8]) -> io::Result<()> {
    stream.write_all(bytes).await?;
    stream.flush().await
}

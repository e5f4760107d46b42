//! The Drop and the Badmail folder: one file a message, durable under its final name or not there at all.

use postroad_mail::hop::NextHop;
use postroad_spool::record::Message;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A message to be written. The name is the message's and the first recipient's own, so a file written again after a crash
/// replaces itself.
pub(crate) struct Filing {
    pub(crate) folder: PathBuf,
    pub(crate) hop: NextHop,
    pub(crate) message: Arc<Message>,
    pub(crate) recipients: Vec<u32>,
    /// Why it is badmail.
    pub(crate) cause: String,
}

impl Filing {
    /// Writes it; `piece` hands out the content, piece by piece, until it is empty. Returns the file's path.
    pub(crate) fn write(&self, mut piece: impl FnMut() -> io::Result<Vec<u8>>) -> io::Result<PathBuf> {
        fs::create_dir_all(&self.folder)?;
        let stem = match self.recipients.first() {
            Some(first) if self.recipients.len() < self.message.recipients.len() => {
                format!("{}-{first}", self.message.id)
            }
            _ => self.message.id.to_string(),
        };
        let name = match self.hop {
            NextHop::Badmail => format!("{stem}.bad"),
            _ => format!("{stem}.eml"),
        };
        let path = self.folder.join(name);
        if self.hop == NextHop::Badmail {
            durable(&self.folder, &self.folder.join(format!("{stem}.bdr")), |file| {
                file.write_all(self.reason().as_bytes())
            })?;
        }
        durable(&self.folder, &path, |file| {
            file.write_all(self.envelope().as_bytes())?;
            file.write_all(self.message.trace.as_bytes())?;
            loop {
                let bytes = piece()?;
                if bytes.is_empty() {
                    return Ok(());
                }
                file.write_all(&bytes)?;
            }
        })?;
        Ok(path)
    }

    /// The original's envelope lines, before the header section.
    fn envelope(&self) -> String {
        let mut text = format!("x-sender: {}\r\n", self.message.sender.path);
        for recipient in
            self.recipients.iter().filter_map(|index| self.message.recipients.get(*index as usize))
        {
            text.push_str(&format!("x-receiver: {}\r\n", recipient.address));
        }
        text
    }

    fn reason(&self) -> String {
        let mut text = format!(
            "Message {} from {} could neither be delivered nor returned.\r\nReason: {}\r\n",
            self.message.id, self.message.sender.path, self.cause
        );
        for recipient in
            self.recipients.iter().filter_map(|index| self.message.recipients.get(*index as usize))
        {
            text.push_str(&format!("Recipient: {}\r\n", recipient.address));
        }
        text
    }
}

fn durable(folder: &Path, path: &Path, fill: impl FnOnce(&mut File) -> io::Result<()>) -> io::Result<()> {
    let temporary = path.with_extension("tmp");
    let mut file = File::create(&temporary)?;
    let written = fill(&mut file).and_then(|()| file.sync_all());
    if let Err(error) = written {
        let _ = fs::remove_file(&temporary);
        return Err(error);
    }
    fs::rename(&temporary, path)?;
    File::open(folder)?.sync_all()
}

//! Durable state in one file.
//!
//! [`RedbStore`] keeps `shoal_ports::Store`'s contract with redb: one table of keys and values, one transaction for
//! each batch, on disk before [`Store::write`] returns. redb takes no more writes after a failed one until its file
//! is opened again; the store does that by itself, so that a disk that was full is only an error while it is full.

use std::fs::{File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use redb::{Builder, Database, DatabaseError, ReadableDatabase, TableDefinition};
use shoal_ports::{Store, StoreError, Write};

/// The only table: keys and values as they are given, keys in byte order.
const ENTRIES: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("entries");

/// A key and its value.
type Entry = (Vec<u8>, Vec<u8>);

/// Memory for cached pages, in bytes. The state of a host is far smaller.
const CACHE_BYTES: usize = 16 << 20;

/// A [`Store`] in one file, which one process at a time may have open. A clone is another handle to the same file; one
/// of them writes, and readers do not wait for it.
#[derive(Debug, Clone)]
pub struct RedbStore {
    path: Arc<PathBuf>,
    /// `None` after a failed write until the file could be opened again.
    database: Arc<Mutex<Option<Arc<Database>>>>,
}

impl RedbStore {
    /// Opens the file, or makes it, readable by its owner alone (mode 0600). Its folder must exist. A file that was
    /// left in the middle of a batch is brought back to the batch before.
    ///
    /// # Errors
    /// Another process has the file open, it is no store, or the system's reason.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, StoreError> {
        let path = path.into();
        let database = Arc::new(open(&path)?);
        Ok(Self { path: Arc::new(path), database: Arc::new(Mutex::new(Some(database))) })
    }

    /// The open database; opens it again if the last write failed.
    fn database(&self) -> Result<Arc<Database>, StoreError> {
        let mut slot = self.slot();
        if let Some(database) = &*slot {
            return Ok(Arc::clone(database));
        }
        let database = Arc::new(open(&self.path)?);
        *slot = Some(Arc::clone(&database));
        tracing::info!(path = %self.path.display(), "opened the state again after a failed write");
        Ok(database)
    }

    fn slot(&self) -> MutexGuard<'_, Option<Arc<Database>>> {
        self.database.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn error(&self, action: &'static str, reason: &impl ToString) -> StoreError {
        error(action, &self.path, reason)
    }
}

impl Store for RedbStore {
    /// As the contract says. Should the disk fail while it confirms a batch, whether that batch is kept is known only
    /// after the file was opened again.
    fn write(&mut self, batch: &[Write]) -> Result<(), StoreError> {
        let database = self.database()?;
        let Err(failed) = commit(&database, batch) else { return Ok(()) };
        // Opening needs the file's lock, which goes with the last handle; a reader may have one for a moment. If it
        // fails, the next call tries again.
        let mut slot = self.slot();
        *slot = None;
        drop(database);
        *slot = open(&self.path).ok().map(Arc::new);
        Err(self.error("write", &failed))
    }

    fn scan(&self, prefix: &[u8]) -> Result<Vec<(Vec<u8>, Vec<u8>)>, StoreError> {
        read(&*self.database()?, prefix).map_err(|failed| self.error("read", &failed))
    }
}

/// Writes a batch as one transaction, which is durable when this returns.
fn commit(database: &Database, batch: &[Write]) -> Result<(), redb::Error> {
    let transaction = database.begin_write()?;
    {
        let mut entries = transaction.open_table(ENTRIES)?;
        for Write { key, value } in batch {
            match value {
                Some(value) => entries.insert(key.as_slice(), value.as_slice())?,
                None => entries.remove(key.as_slice())?,
            };
        }
    }
    Ok(transaction.commit()?)
}

/// Reads everything under a prefix.
fn read(database: &Database, prefix: &[u8]) -> Result<Vec<Entry>, redb::Error> {
    let entries = database.begin_read()?.open_table(ENTRIES)?;
    let mut found = Vec::new();
    for entry in entries.range(prefix..)? {
        let (key, value) = entry?;
        if !key.value().starts_with(prefix) {
            break;
        }
        found.push((key.value().to_vec(), value.value().to_vec()));
    }
    Ok(found)
}

/// Opens or makes the file and its table.
fn open(path: &Path) -> Result<Database, StoreError> {
    let refused = |reason: String| error("open", path, &reason);
    let is_new = !path.exists();
    let file = open_file(path).map_err(|e| refused(e.to_string()))?;
    let database = Builder::new().set_cache_size(CACHE_BYTES).create_file(file).map_err(|failed| {
        refused(match failed {
            DatabaseError::DatabaseAlreadyOpen => {
                "another process has it open; is an agent running already?".to_owned()
            }
            other => other.to_string(),
        })
    })?;
    // A read needs the table, also before the first write.
    if database.begin_read().ok().is_none_or(|reading| reading.open_table(ENTRIES).is_err()) {
        commit(&database, &[]).map_err(|e| refused(e.to_string()))?;
    }
    if is_new {
        sync_folder(path).map_err(|e| refused(e.to_string()))?;
    }
    Ok(database)
}

fn open_file(path: &Path) -> io::Result<File> {
    let file =
        OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)?;
    // A file that was there may have been copied with wider rights; it holds keys.
    if file.metadata()?.permissions().mode() & 0o077 != 0 {
        file.set_permissions(Permissions::from_mode(0o600))?;
    }
    Ok(file)
}

/// Makes a new file's name durable.
fn sync_folder(path: &Path) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder)?.sync_all()
}

fn error(action: &'static str, path: &Path, reason: &impl ToString) -> StoreError {
    StoreError { action, path: path.display().to_string(), reason: reason.to_string() }
}

//! A checkpoint in a file, for targets that keep none.
//!
//! ```text
//!  offsets          the checkpoint, written anew for each position
//!  offsets.backup   the same without the newest positions, written when anything else changes
//!  offsets.lock     locked by the process that runs the stream
//! ```
//!
//! A file is a line with the format's version, a line with the checksum of what follows, and JSON. It is written beside its place, made
//! durable, and moved there, so that a crash leaves the old one or the new one. One that was damaged all the same is moved aside;
//! what the tables' copies have come to is then in the backup, and the position is the slot's own, which is never before
//! what was delivered by more than was not yet confirmed. Without either the log from there on comes before the next copy: rows that are gone
//! are in no copy.

mod state;

use std::collections::BTreeMap;
use std::fs::{self, File, TryLockError};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use self::state::{Stage, State, Synced, TableState, Unread, VERSION};
use crate::checkpoint::{Checkpoint, Completion, OffsetStore, SourceIdentity, TableSync};
use crate::error::{Error, ErrorKind};
use crate::lsn::Lsn;
use crate::relation::TableName;
use crate::table::TableOrigin;

const OFFSETS: &str = "offsets";
const BACKUP: &str = "offsets.backup";
const LOCK: &str = "offsets.lock";
/// Saving is four accesses to the disk: at each batch's end they would cost more than the batch.
const SAVE_INTERVAL: Duration = Duration::from_millis(50);

/// Why a checkpoint in files cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FileStoreError {
    /// Another process has the directory: most often a second worker of the stream.
    ///
    /// Remedy: nothing, if the other worker is the right one. Else end that one first (`fuser <directory>/offsets.lock` tells its pid), or give
    /// this stream a directory of its own with `--data-dir`.
    #[error(
        "directory `{}` is used by another process: wait until it ends, or give this stream another directory (`--data-dir`)",
        .0.display()
    )]
    Locked(PathBuf),
    /// The directory holds the position of a stream of another name. Its position would be wrong for this one.
    ///
    /// Remedy: give each stream a directory of its own (`--data-dir`). Was the stream renamed, name it as before; or remove `offsets` and
    /// `offsets.backup`, and the tables are read again. Then no event tells of rows that were deleted since the stream stopped, unless `slotName`
    /// names the slot that it had.
    #[error(
        "directory `{}` holds the position of stream `{found}`, and this is stream `{expected}`: give it another directory \
         (`--data-dir`), or remove `offsets` and `offsets.backup` there if nobody needs them",
        directory.display()
    )]
    OtherStream {
        /// The directory.
        directory: PathBuf,
        /// Whose it is.
        found: String,
        /// The stream that would use it.
        expected: String,
    },
    /// A newer program wrote the file, in a form that this one would misread.
    ///
    /// Remedy: run the stream with the newer program again. To go back to this one, remove `offsets` and `offsets.backup`: what changed since the
    /// slot's position is delivered then, and after it the tables are read again.
    #[error(
        "`{}` was written by a newer program (version {version} of the file, and this program knows versions up to {VERSION}): run the stream with \
         that program, or remove `offsets` and `offsets.backup` there, and the stream goes on at its slot's position and reads its tables again",
        path.display()
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its version.
        version: u32,
    },
    /// The system refuses to read or write the file that keeps the position. Nothing is confirmed to the source that is not in the file.
    ///
    /// Remedy: mend what the message says: rights of the directory, a volume that is read-only. Then start the stream again. While a disk is full,
    /// or fails, it is tried again.
    #[error("cannot {doing} `{}`: {source}; check its rights and the space left", path.display())]
    Io {
        /// What was tried.
        doing: &'static str,
        /// With which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl FileStoreError {
    /// The error as the engine knows it.
    #[must_use]
    pub fn into_error(self) -> Error {
        let kind = match &self {
            Self::Locked(_) => ErrorKind::Fenced,
            Self::Io { source, .. } if !is_of_setup(source) => ErrorKind::Transient,
            Self::OtherStream { .. } | Self::Newer { .. } | Self::Io { .. } => {
                ErrorKind::Configuration
            }
        };
        Error::new(kind, self)
    }
}

/// Whether it stays until somebody sets the directory up in another way. Room can be made, and a disk can come back.
fn is_of_setup(error: &io::Error) -> bool {
    use io::ErrorKind::{
        InvalidFilename, InvalidInput, IsADirectory, NotADirectory, NotFound, PermissionDenied,
        ReadOnlyFilesystem, Unsupported,
    };
    matches!(
        error.kind(),
        PermissionDenied
            | ReadOnlyFilesystem
            | NotFound
            | NotADirectory
            | IsADirectory
            | InvalidFilename
            | InvalidInput
            | Unsupported
    )
}

/// Keeps a checkpoint in a directory, which is its own as long as it lives.
#[derive(Debug)]
pub struct FileStore {
    directory: PathBuf,
    state: State,
    generation: Arc<AtomicU64>,
    /// Locked until it is closed.
    _lock: File,
}

/// What was found in place of a checkpoint.
enum Found {
    Whole(State),
    Nothing,
    Damaged(String),
}

impl FileStore {
    /// Opens the checkpoint of `stream` in `directory`, which is made if there is none. Blocks for the time of a few disk accesses.
    ///
    /// # Errors
    /// [`FileStoreError`]. Files that are damaged are none: the position is the slot's then.
    pub fn open(directory: &Path, stream: &str) -> Result<Self, FileStoreError> {
        fs::create_dir_all(directory).map_err(failed("create", directory))?;
        let lock_path = directory.join(LOCK);
        let lock = File::options().create(true).append(true).open(&lock_path);
        let lock = lock.map_err(failed("open", &lock_path))?;
        lock.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => FileStoreError::Locked(directory.to_owned()),
            TryLockError::Error(error) => failed("lock", &lock_path)(error),
        })?;
        let state = Self::recall(directory)?.unwrap_or_else(|| State::new(stream));
        if state.stream != stream {
            let (found, expected) = (state.stream, stream.to_owned());
            return Err(FileStoreError::OtherStream {
                directory: directory.to_owned(),
                found,
                expected,
            });
        }
        let generation = Arc::new(AtomicU64::new(state.generation));
        Ok(Self { directory: directory.to_owned(), state, generation, _lock: lock })
    }

    /// A number for the snapshot, as it is known when one begins: that of a snapshot that a crash interrupted stays the same, and no
    /// other snapshot has it, not even one that is taken after the files were lost.
    #[must_use]
    pub fn generation(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.generation)
    }

    /// Reads what is there, and sets damaged files aside.
    fn recall(directory: &Path) -> Result<Option<State>, FileStoreError> {
        let (main, backup) = (directory.join(OFFSETS), directory.join(BACKUP));
        let problem = match read(&main)? {
            Found::Whole(state) => return Ok(Some(state)),
            Found::Nothing if !backup.exists() => return Ok(None),
            Found::Nothing => "it is missing".to_owned(),
            Found::Damaged(problem) => {
                set_aside(&main)?;
                problem
            }
        };
        let path = main.display();
        match read(&backup)? {
            Found::Whole(mut state) => {
                tracing::warn!(
                    "position file `{path}` cannot be used ({problem}) and was set aside: the stream goes on at its slot's \
                     position, and events that were not confirmed come again with the same ids"
                );
                // Nothing is saved after the end.
                if state.completion == Stage::Open {
                    state.position = None;
                }
                Ok(Some(state))
            }
            Found::Nothing | Found::Damaged(_) => {
                if backup.exists() {
                    set_aside(&backup)?;
                }
                tracing::warn!(
                    "position file `{path}` and its backup cannot be used ({problem}) and were set aside: the stream goes on at its \
                     slot's position, and then tables are read anew, because nobody knows which were complete; events of changes that \
                     were delivered before come again with the same ids"
                );
                Ok(None)
            }
        }
    }

    /// Writes the checkpoint, and with `whole` its backup too.
    async fn save(&self, whole: bool) -> Result<(), Error> {
        let text = self.state.to_text()?;
        let directory = self.directory.clone();
        let written = tokio::task::spawn_blocking(move || {
            if whole {
                write(&directory, BACKUP, &text)?;
            }
            write(&directory, OFFSETS, &text)
        });
        let written = written.await.map_err(|error| Error::new(ErrorKind::Permanent, error))?;
        written.map_err(FileStoreError::into_error)
    }
}

impl OffsetStore for FileStore {
    async fn load(&mut self) -> Result<Checkpoint, Error> {
        Ok(self.state.checkpoint())
    }

    async fn save_start(&mut self, source: &SourceIdentity, position: Lsn) -> Result<(), Error> {
        self.state.system_id = Some(source.system_id.clone());
        self.state.slot = Some(source.slot.clone());
        self.state.timeline = source.timeline;
        self.state.position = Some(position.get());
        self.save(true).await
    }

    async fn save_position(&mut self, position: Lsn) -> Result<(), Error> {
        self.state.position = Some(position.get());
        self.save(false).await
    }

    fn save_interval(&self) -> Duration {
        SAVE_INTERVAL
    }

    async fn save_tables(&mut self, tables: &[(TableName, TableSync)]) -> Result<(), Error> {
        let mut known: BTreeMap<_, _> =
            self.state.tables.drain(..).map(|table| (table.name.clone(), table)).collect();
        let mut again = false;
        for (name, sync) in tables {
            let (synced, copying, relation) = match sync {
                TableSync::Copying { lsn, relation } => {
                    (None, lsn.get(), relation.map(|relation| relation.0))
                }
                TableSync::Synced { lsn, origin } => {
                    let TableOrigin { relation, published_by, columns, published_as, root } =
                        origin.clone();
                    let (lsn, relation) = (lsn.get(), relation.0);
                    (
                        Some(Synced { lsn, relation, published_by, columns, published_as, root }),
                        0,
                        None,
                    )
                }
            };
            let copies = synced.is_none();
            let table = TableState { name: name.clone(), synced, copying, relation };
            let before = known.insert(name.clone(), table).and_then(|table| table.synced);
            again |= before.is_some() && copies;
        }
        self.state.tables = known.into_values().collect();
        self.state.generation += u64::from(again);
        self.generation.store(self.state.generation, Ordering::Relaxed);
        self.save(true).await
    }

    async fn save_completion(&mut self, completion: Completion) -> Result<(), Error> {
        self.state.completion = match completion {
            Completion::Open => Stage::Open,
            Completion::Delivered => Stage::Delivered,
            Completion::Completed => Stage::Completed,
        };
        self.save(true).await
    }
}

fn failed(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> FileStoreError {
    let path = path.to_owned();
    move |source| FileStoreError::Io { doing, path, source }
}

fn read(path: &Path) -> Result<Found, FileStoreError> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Found::Nothing),
        Err(error) => return Err(failed("read", path)(error)),
    };
    let text = String::from_utf8(bytes).map_err(|error| Unread::Damaged(error.to_string()));
    match text.and_then(|text| State::from_text(&text)) {
        Ok(state) => Ok(Found::Whole(state)),
        Err(Unread::Damaged(problem)) => Ok(Found::Damaged(problem)),
        Err(Unread::Newer(version)) => {
            Err(FileStoreError::Newer { path: path.to_owned(), version })
        }
    }
}

/// Moves a file away, without taking the place of another.
fn set_aside(path: &Path) -> Result<(), FileStoreError> {
    let aside = (1..)
        .map(|number: u32| {
            let mut name = path.as_os_str().to_owned();
            name.push(format!(".damaged-{number}"));
            PathBuf::from(name)
        })
        .find(|aside| !aside.exists())
        .unwrap_or_default();
    fs::rename(path, aside).map_err(failed("move", path))
}

/// Replaces a file of `directory`, all or nothing.
fn write(directory: &Path, name: &str, text: &str) -> Result<(), FileStoreError> {
    let (path, beside) = (directory.join(name), directory.join(format!("{name}.new")));
    let written = File::create(&beside).and_then(|mut file| {
        file.write_all(text.as_bytes())?;
        file.sync_all()
    });
    written.map_err(failed("write", &beside))?;
    fs::rename(&beside, &path).map_err(failed("replace", &path))?;
    // Until the directory is written the old file may come back.
    File::open(directory)
        .and_then(|directory| directory.sync_all())
        .map_err(failed("write", directory))
}

#[cfg(test)]
mod tests {
    use super::state::MAGIC;
    use super::*;
    use crate::columns::ColumnNumbers;
    use crate::relation::RelationId;
    use crate::table::PublishedAs;

    const STREAM: &str = "default.orders";

    fn source() -> SourceIdentity {
        SourceIdentity { system_id: "7".to_owned(), slot: "s".to_owned(), timeline: Some(1) }
    }

    fn copying() -> TableSync {
        TableSync::Copying { lsn: Lsn::new(12), relation: Some(RelationId(5)) }
    }

    fn synced(lsn: u64) -> TableSync {
        let numbers = BTreeMap::from([("id".to_owned(), 1), ("v".to_owned(), 3)]);
        let one = |name: &str, number| BTreeMap::from([(name.to_owned(), number)]);
        let columns =
            ColumnNumbers { numbers, highest: 4, computed: one("g", 4), excluded: one("x", 2) };
        let operations = vec!["insert".to_owned()];
        let published_as =
            Some(PublishedAs { version: 5, operations, restricted_by: 6, generated: true });
        let relation = RelationId(16_384);
        let root = Some(TableName::new("s", "root"));
        let origin = TableOrigin { relation, published_by: 7, columns, published_as, root };
        TableSync::Synced { lsn: Lsn::new(lsn), origin }
    }

    /// A directory in which a stream has come to 0/20 with one table copied and one not.
    async fn saved() -> (tempfile::TempDir, Checkpoint) {
        let directory = tempfile::tempdir().unwrap();
        let mut store = FileStore::open(directory.path(), STREAM).unwrap();
        assert_eq!(store.load().await.unwrap(), Checkpoint::default());
        store.save_start(&source(), Lsn::new(10)).await.unwrap();
        let tables =
            [(TableName::new("s", "a\"b"), synced(11)), (TableName::new("s", "b"), copying())];
        store.save_tables(&tables).await.unwrap();
        store.save_position(Lsn::new(0x20)).await.unwrap();
        let checkpoint = store.load().await.unwrap();
        (directory, checkpoint)
    }

    async fn load(directory: &Path) -> Checkpoint {
        FileStore::open(directory, STREAM).unwrap().load().await.unwrap()
    }

    #[tokio::test]
    async fn what_was_saved_is_loaded() {
        let (directory, saved) = saved().await;
        assert_eq!(load(directory.path()).await, saved);
        assert_eq!(saved.position, Some(Lsn::new(0x20)));
        assert_eq!(saved.source, Some(source()));
        let mut store = FileStore::open(directory.path(), STREAM).unwrap();
        store.save_completion(Completion::Delivered).await.unwrap();
        drop(store);
        assert_eq!(load(directory.path()).await.completion, Completion::Delivered);
    }

    #[tokio::test]
    async fn a_damaged_file_gives_the_tables_and_leaves_the_position_to_the_slot() {
        let newer = format!("{MAGIC}{}\nx\n{{}}\n", VERSION + 1);
        for damage in ["", "\0\0\0\0\0\0", "nonsense", &newer] {
            let (directory, saved) = saved().await;
            let path = directory.path().join(OFFSETS);
            fs::write(&path, damage).unwrap();
            assert_eq!(load(directory.path()).await, Checkpoint { position: None, ..saved });
            let aside = directory.path().join("offsets.damaged-1");
            assert_eq!(fs::read_to_string(aside).unwrap(), damage);
        }
    }

    #[tokio::test]
    async fn the_backup_of_a_delivered_stream_has_its_last_position() {
        let (directory, saved) = saved().await;
        let mut store = FileStore::open(directory.path(), STREAM).unwrap();
        store.save_completion(Completion::Delivered).await.unwrap();
        drop(store);
        fs::write(directory.path().join(OFFSETS), "damaged").unwrap();
        let expected = Checkpoint { completion: Completion::Delivered, ..saved };
        assert_eq!(load(directory.path()).await, expected);
    }

    #[tokio::test]
    async fn a_file_cut_anywhere_or_with_any_byte_changed_is_damaged() {
        let (directory, saved) = saved().await;
        let text = fs::read(directory.path().join(OFFSETS)).unwrap();
        // The last byte is a line end that nothing depends on.
        for end in 0..text.len() - 1 {
            let cut = String::from_utf8(text[..end].to_vec()).unwrap();
            assert!(State::from_text(&cut).is_err(), "cut at {end}");
        }
        for at in 0..text.len() - 1 {
            let mut changed = text.clone();
            changed[at] ^= 1;
            let read = State::from_text(&String::from_utf8(changed).unwrap());
            assert!(read.is_err() || read.unwrap().checkpoint() == saved, "changed at {at}");
        }
    }

    #[tokio::test]
    async fn a_file_of_a_newer_program_is_left_to_it() {
        for (name, lost) in [(OFFSETS, None), (BACKUP, Some(OFFSETS))] {
            let (directory, _) = saved().await;
            let path = directory.path().join(name);
            let text = fs::read_to_string(&path).unwrap();
            let newer = text.replacen(&VERSION.to_string(), &(VERSION + 1).to_string(), 1);
            fs::write(&path, &newer).unwrap();
            if let Some(lost) = lost {
                fs::write(directory.path().join(lost), "damaged").unwrap();
            }
            let error = FileStore::open(directory.path(), STREAM).unwrap_err().into_error();
            assert_eq!(error.kind(), ErrorKind::Configuration);
            let told = error.to_string();
            assert!(told.contains(&path.display().to_string()) && told.contains("newer"), "{told}");
            assert_eq!(fs::read_to_string(&path).unwrap(), newer);
        }
    }

    #[tokio::test]
    async fn without_a_backup_tables_are_copied_again() {
        let (directory, _) = saved().await;
        for name in [OFFSETS, BACKUP] {
            fs::write(directory.path().join(name), [0; 300]).unwrap();
        }
        assert_eq!(load(directory.path()).await, Checkpoint::default());
    }

    #[tokio::test]
    async fn a_position_file_that_was_removed_does_not_begin_the_stream_anew() {
        let (directory, saved) = saved().await;
        fs::remove_file(directory.path().join(OFFSETS)).unwrap();
        assert_eq!(load(directory.path()).await, Checkpoint { position: None, ..saved });
    }

    #[tokio::test]
    async fn a_crash_between_the_files_leaves_the_old_position() {
        let (directory, saved) = saved().await;
        fs::write(directory.path().join("offsets.new"), "half").unwrap();
        assert_eq!(load(directory.path()).await, saved);
    }

    #[test]
    fn a_disk_that_is_full_or_fails_is_tried_again_and_a_wrong_directory_is_not() {
        let kind = |number| {
            let error = io::Error::from_raw_os_error(number);
            failed("write", Path::new("offsets"))(error).into_error().kind()
        };
        // ENOSPC, EDQUOT, EIO, ESTALE.
        assert!([28, 122, 5, 116].into_iter().all(|number| kind(number) == ErrorKind::Transient));
        // EACCES, EPERM, EROFS, ENOENT, ENOTDIR.
        let wrong = [13, 1, 30, 2, 20];
        assert!(wrong.into_iter().all(|number| kind(number) == ErrorKind::Configuration));
    }

    #[tokio::test]
    async fn a_directory_belongs_to_one_process_and_one_stream() {
        let (directory, _) = saved().await;
        let store = FileStore::open(directory.path(), STREAM).unwrap();
        let error = FileStore::open(directory.path(), STREAM).unwrap_err();
        assert_eq!(error.into_error().kind(), ErrorKind::Fenced);
        drop(store);
        let error = FileStore::open(directory.path(), "default.other").unwrap_err().into_error();
        assert_eq!(error.kind(), ErrorKind::Configuration);
        let told = error.to_string();
        assert!(told.contains(STREAM) && told.contains("default.other"), "{told}");
    }

    #[tokio::test]
    async fn a_snapshot_after_the_files_were_lost_is_a_new_generation() {
        let (directory, _) = saved().await;
        let generation = || {
            let store = FileStore::open(directory.path(), STREAM).unwrap();
            store.generation().load(Ordering::Relaxed)
        };
        let first = generation();
        assert_eq!(generation(), first);
        for lose in [|path: &Path| fs::remove_file(path), |path: &Path| fs::write(path, [0; 300])] {
            for name in [OFFSETS, BACKUP] {
                lose(&directory.path().join(name)).unwrap();
            }
            assert!(generation() > first);
            for name in [OFFSETS, BACKUP] {
                fs::write(directory.path().join(name), "lost next").unwrap();
            }
        }
    }

    #[tokio::test]
    async fn a_snapshot_of_tables_that_had_one_is_a_new_generation_and_a_crash_is_not() {
        let (directory, _) = saved().await;
        let mut store = FileStore::open(directory.path(), STREAM).unwrap();
        let generation = store.generation();
        let first = generation.load(Ordering::Relaxed);
        let (a, b) = (TableName::new("s", "a\"b"), TableName::new("s", "b"));
        let done = synced(12);
        store.save_tables(&[(b.clone(), copying())]).await.unwrap();
        store.save_tables(&[(b.clone(), done)]).await.unwrap();
        assert_eq!(generation.load(Ordering::Relaxed), first);
        let both = [(a, copying()), (b, copying())];
        store.save_tables(&both).await.unwrap();
        store.save_tables(&both).await.unwrap();
        assert_eq!(generation.load(Ordering::Relaxed), first + 1);
        drop(store);
        let store = FileStore::open(directory.path(), STREAM).unwrap();
        assert_eq!(store.generation().load(Ordering::Relaxed), first + 1);
    }
}

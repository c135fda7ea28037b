//! Reads a part back from the store, through the qcow2 reader, and compares it with its manifest.

use super::PartSource;
use super::batch::{batches, buffer_for, pieces_of};
use super::error::SalvageError;
use super::write::read_source;
use crate::format::qcow2::{Bytes, Image, Layout};
use crate::model::extent::ExtentSet;
use crate::model::salvage::{Part, Piece};
use crate::ports::progress::Progress;
use crate::ports::store::{Store, StoreFault};
use crate::proof::{ReadPart, ReadPiece};

/// A file of the store, for the qcow2 reader.
#[derive(Clone)]
pub(super) struct StoreFile<'a> {
    store: &'a dyn Store,
    path: String,
    size: u64,
}

impl Bytes for StoreFile<'_> {
    type Fault = StoreFault;
    fn size(&self) -> u64 {
        self.size
    }
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), StoreFault> {
        self.store.read_at(&self.path, offset, buffer)
    }
}

/// A part's file, opened, and found to be the one that the manifest describes (as far as its header tells).
pub(super) struct StoredPart<'a> {
    pub(super) image: Image<StoreFile<'a>>,
    /// Full path, for messages.
    pub(super) file: String,
    layout: Layout,
    bytes: StoreFile<'a>,
}

impl<'a> StoredPart<'a> {
    pub(super) fn open(store: &'a dyn Store, dir: &str, part: &Part) -> Result<Self, SalvageError> {
        let path = format!("{dir}/{}", part.file);
        let file = store.locate(&path);
        let differs = |what: String| SalvageError::File { file: file.clone(), what };
        let kept: ExtentSet = part.pieces.iter().map(Piece::extent).collect();
        let layout = Layout::new(part.virtual_size, &kept, part.backing.as_deref())
            .map_err(|source| SalvageError::Layout { part: part.kind, source })?;
        let size = store.len(&path)?.ok_or_else(|| differs("the file is missing".into()))?;
        if size != layout.file_size() {
            return Err(differs(format!("it has {size} bytes instead of {}", layout.file_size())));
        }
        let bytes = StoreFile { store, path, size };
        let image = Image::open(bytes.clone())
            .map_err(|source| SalvageError::Image { file: file.clone(), source })?;
        if image.virtual_size() != part.virtual_size || image.cluster() != layout.cluster() {
            return Err(differs("its header describes another volume than the manifest".into()));
        }
        if image.backing() != part.backing.as_deref() {
            return Err(differs("its header names another backing file than the manifest".into()));
        }
        Ok(StoredPart { image, file, layout, bytes })
    }

    /// Reads a piece's bytes and checks them; `buffer` is as long as the piece.
    pub(super) fn read_piece(&self, piece: &Piece, buffer: &mut [u8]) -> Result<ReadPiece, SalvageError> {
        self.read(piece.start, buffer)?;
        self.checked(piece, buffer)
    }

    fn read(&self, start: u64, buffer: &mut [u8]) -> Result<(), SalvageError> {
        self.image
            .read(start, buffer)
            .map_err(|source| SalvageError::Image { file: self.file.clone(), source })
    }

    fn checked(&self, piece: &Piece, bytes: &[u8]) -> Result<ReadPiece, SalvageError> {
        let read = ReadPiece::of(piece.start, bytes);
        if read.piece() == *piece {
            Ok(read)
        } else {
            Err(SalvageError::Piece { file: self.file.clone(), piece: *piece, found: read.piece().blake3 })
        }
    }

    /// Whether the file stores exactly the clusters that it should, by its own tables, and whether these (refcounts
    /// included, which the reader has no use for) are what they were when written.
    fn check_tables(&self) -> Result<(), SalvageError> {
        let stored = self
            .image
            .allocated()
            .map_err(|source| SalvageError::Image { file: self.file.clone(), source })?;
        if stored != self.layout.clusters().clip(self.layout.virtual_size()) {
            let what = "its tables hold other clusters than the manifest lists".into();
            return Err(SalvageError::File { file: self.file.clone(), what });
        }
        let at_once = usize::try_from(self.bytes.size).unwrap_or(usize::MAX).clamp(1, 1 << 20);
        let (mut should, mut is) = (vec![0; at_once], vec![0; at_once]);
        let (mut tables, mut at) = (self.layout.tables(), 0u64);
        loop {
            let filled = tables.fill(&mut should);
            if filled == 0 {
                return Ok(());
            }
            self.bytes.read_at(at, &mut is[..filled])?;
            if is[..filled] != should[..filled] {
                let first = is.iter().zip(&should).take_while(|(is, should)| is == should).count();
                let what =
                    format!("its tables differ from what was written, first at byte {}", at + first as u64);
                return Err(SalvageError::File { file: self.file.clone(), what });
            }
            at += filled as u64;
        }
    }
}

/// Reads a part wholly back. With a `source`, that is read once more as well, and every stored cluster must hold its bytes.
pub(super) fn read_back(
    store: &dyn Store,
    dir: &str,
    part: &Part,
    source: Option<&PartSource<'_>>,
    progress: &dyn Progress,
) -> Result<ReadPart, SalvageError> {
    let stored = StoredPart::open(store, dir, part)?;
    stored.check_tables()?;
    let kept: ExtentSet = part.pieces.iter().map(Piece::extent).collect();
    let extents = pieces_of(&kept);
    if extents.len() != part.pieces.len() {
        // Legal pieces that touch inside one MiB would be merged; ours never do.
        let what = "its pieces are not cut as unsplit cuts them".into();
        return Err(SalvageError::File { file: stored.file, what });
    }
    let runs = stored.layout.clusters().clip(part.virtual_size);
    let mut buffer = buffer_for(runs.bytes());
    let mut pieces = Vec::with_capacity(part.pieces.len());
    for batch in batches(&runs, &extents) {
        let read = batch.fill(&mut buffer, |segment, bytes| {
            stored.read(segment.guest.start, bytes)?;
            let expected = part.pieces[segment.pieces.clone()].iter();
            let read: Vec<ReadPiece> = expected
                .map(|piece| stored.checked(piece, segment.slice(bytes, piece.extent())))
                .collect::<Result<_, _>>()?;
            if let Some(source) = source {
                let mut again = vec![0; bytes.len()];
                read_source(source, segment, &mut again)?;
                if again != *bytes {
                    return Err(SalvageError::SourceChanged { part: part.kind, extent: segment.guest });
                }
            }
            Ok(read)
        })?;
        let read: Vec<ReadPiece> = read.into_iter().flatten().collect();
        progress.advance(read.iter().map(|read| read.piece().len).sum());
        pieces.extend(read);
    }
    Ok(ReadPart { kind: part.kind, pieces })
}

//! Judging takes no memory from the heap, sample by sample and in batches, for every committed model.

use std::path::Path;

use pulsegate_detector::model_file::ModelFile;
use pulsegate_detector::timing::{BATCH, workload};

/// Batches, and turns of every device alone.
const BATCHES: usize = 3;

#[test]
fn judging_allocates_nothing() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("models");
    let mut judged = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "safetensors") {
            continue;
        }
        let file = ModelFile::read(&std::fs::read(&path).unwrap()).unwrap();
        let Some(work) = workload(&file) else { continue };
        let mut work = work.unwrap();
        // The first call looks up what the processor can do.
        work.judge(1);
        let taken = allocation_counter::measure(|| {
            (0..BATCHES * BATCH).for_each(|_| work.judge(1));
            (0..BATCHES).for_each(|_| work.judge(BATCH));
        });
        assert_eq!(taken.count_total, 0, "{} allocates: {taken:?}", file.metadata.name);
        judged += 1;
    }
    assert!(judged > 0, "no committed model can be timed");
}

//! Matrices of 32-bit floats and one text, in safetensors.

use std::collections::{BTreeMap, HashMap};

use ndarray::Array2;
use safetensors::tensor::{Dtype, SafeTensors, TensorView};

use super::ModelFileError;

/// Where the text stands in the file's metadata.
const TEXT: &str = "pulsegate";

/// The bytes of a text and matrices of distinct names; the same input gives the same bytes.
pub(crate) fn encode(text: &str, matrices: Vec<(String, &Array2<f32>)>) -> Vec<u8> {
    let bytes: Vec<(String, Vec<usize>, Vec<u8>)> = matrices
        .into_iter()
        .map(|(name, matrix)| {
            let bytes = matrix.iter().flat_map(|value| value.to_le_bytes()).collect();
            (name, vec![matrix.nrows(), matrix.ncols()], bytes)
        })
        .collect();
    let views = bytes.iter().map(|(name, shape, bytes)| {
        let view = TensorView::new(Dtype::F32, shape.clone(), bytes).expect("a matrix has rows × columns numbers");
        (name.as_str(), view)
    });
    let metadata = HashMap::from([(TEXT.to_owned(), text.to_owned())]);
    safetensors::serialize(views, Some(metadata)).expect("matrices of distinct names can be written")
}

/// The text and the matrices.
pub(crate) fn decode(bytes: &[u8]) -> Result<(String, BTreeMap<String, Array2<f32>>), ModelFileError> {
    let unreadable = |reason: String| ModelFileError::Unreadable { reason };
    let (_, header) = SafeTensors::read_metadata(bytes).map_err(|error| unreadable(error.to_string()))?;
    let text = header.metadata().as_ref().and_then(|metadata| metadata.get(TEXT)).cloned();
    let text = text.ok_or_else(|| ModelFileError::Foreign { reason: "it has no description".to_owned() })?;
    let file = SafeTensors::deserialize(bytes).map_err(|error| unreadable(error.to_string()))?;
    let mut matrices = BTreeMap::new();
    for (name, view) in file.iter() {
        let &[rows, columns] = view.shape() else {
            return Err(unreadable(format!("tensor {name:?} is not a matrix")));
        };
        if view.dtype() != Dtype::F32 {
            return Err(unreadable(format!("tensor {name:?} does not hold 32-bit floats")));
        }
        let numbers = view.data().as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes));
        let numbers: Vec<f32> = numbers.collect();
        if numbers.iter().any(|number| !number.is_finite()) {
            return Err(ModelFileError::NotFinite { name: name.to_owned() });
        }
        let matrix = Array2::from_shape_vec((rows, columns), numbers).map_err(|error| unreadable(error.to_string()))?;
        matrices.insert(name.to_owned(), matrix);
    }
    Ok((text, matrices))
}

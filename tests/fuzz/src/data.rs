//! The program's readers of documents and datasets.

#[path = "../../../native/src/data/dataset.rs"]
pub mod dataset;
#[path = "../../../native/src/data/lines.rs"]
pub mod lines;
#[path = "../../../native/src/data/parquet_rows.rs"]
pub mod parquet_rows;
#[path = "../../../native/src/data/read.rs"]
pub mod read;
#[path = "../../../native/src/data/thrift.rs"]
mod thrift;

pub mod prepare {
    //! What a dataset says of its making, which is read and shown.

    pub type PrepareOptions = serde_json::Value;
}

//! `anaume schema`: JSON Schemas of the documents that the program writes.

use anaume_core::report::schema::{DOCUMENTS, schema};

/// Prints the schema of a document, or the names of all.
pub fn run(name: Option<&str>) -> anyhow::Result<()> {
    match name.and_then(schema) {
        Some(schema) => println!("{}", serde_json::to_string_pretty(&schema)?),
        None => DOCUMENTS.iter().for_each(|(name, what)| println!("{name:<12} {what}")),
    }
    Ok(())
}

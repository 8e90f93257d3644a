//! The findings as text: four views of one outcome.

mod github;
mod json;
mod sarif;
mod text;

use super::request::OutputFormat;
use super::result::PlanResult;

/// The outcome in this format.
pub(super) fn write(outcome: &PlanResult, format: OutputFormat) -> String {
    match format {
        OutputFormat::Text => text::write(outcome),
        OutputFormat::Json => json::write(outcome),
        OutputFormat::Sarif => sarif::write(outcome),
        OutputFormat::Github => github::write(outcome),
    }
}

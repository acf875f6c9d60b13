//! Why a table has no policy, with the stable code for it.

use classification::PolicyError;

use crate::error::{ErrorCode, Failure};

/// The failure of a table whose policy cannot be compiled.
pub fn refusal(error: &PolicyError) -> Failure {
    let code = match error {
        PolicyError::TableUnknown { .. } | PolicyError::TableDisabled { .. } | PolicyError::OtherTenant { .. } => {
            ErrorCode::TableNotOffered
        }
        PolicyError::ColumnMissing { .. } | PolicyError::Unclassified { .. } => ErrorCode::RulesInvalid,
        PolicyError::NothingExportable { .. } => ErrorCode::NothingExportable,
    };
    Failure::new(code, error.to_string())
}

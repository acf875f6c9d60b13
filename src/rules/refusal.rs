//! Why a table has no policy, with the stable code for it.

use classification::PolicyError;
use classification::rules::ExportTable;

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

/// Why the schedule refuses a table that several tenants share: nobody has said whose rows it takes. To take those of one
/// tenant would leave out the others in silence, and to take all would mix them unasked.
pub fn undecided(row: &ExportTable) -> Option<Failure> {
    let column = row.tenant_column.as_ref().filter(|_| row.scheduled_tenants.is_none())?;
    let why = format!(
        "table '{}' holds rows of several tenants (tenant_column '{column}'), and nobody has said whose the schedule takes; \
         set scheduled_tenants in export_tables to 'default' or 'all', or scheduled to false",
        row.table_name
    );
    Some(Failure::new(ErrorCode::TenantsUndecided, why))
}

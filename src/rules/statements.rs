//! The statements that change one rule.

use classification::rules::RuleTable;

/// Puts a row, given as JSON, in the place of the one with its key.
pub(super) fn upsert(table: RuleTable) -> &'static str {
    match table {
        RuleTable::ExportTables => {
            "INSERT INTO export_tables SELECT (jsonb_populate_record(NULL::export_tables, $1)).*
             ON CONFLICT (table_name) DO UPDATE SET
                 (enabled, on_demand, scheduled, time_column, time_unit, time_zone, source_column, metric_column,
                  value_column, tenant_column, denied_cell, strict, format, type_profile, compression, whole_export,
                  scheduled_tenants)
               = (excluded.enabled, excluded.on_demand, excluded.scheduled, excluded.time_column, excluded.time_unit,
                  excluded.time_zone, excluded.source_column, excluded.metric_column, excluded.value_column,
                  excluded.tenant_column, excluded.denied_cell, excluded.strict, excluded.format, excluded.type_profile,
                  excluded.compression, excluded.whole_export, excluded.scheduled_tenants)"
        }
        RuleTable::DataColumnClassification => {
            "INSERT INTO data_column_classification
             SELECT (jsonb_populate_record(NULL::data_column_classification, $1)).*
             ON CONFLICT (table_name, column_name) DO UPDATE SET
                 (classification, pii_exempt_by, pii_exempt_reason, pii_exempt_until)
               = (excluded.classification, excluded.pii_exempt_by, excluded.pii_exempt_reason, excluded.pii_exempt_until)"
        }
        RuleTable::ActualDataClassifications => {
            "INSERT INTO actual_data_classifications
             SELECT (jsonb_populate_record(NULL::actual_data_classifications, $1)).*
             ON CONFLICT (source) DO UPDATE SET classification = excluded.classification"
        }
        RuleTable::LongTableDataClassifications => {
            "INSERT INTO long_table_data_classifications
             SELECT (jsonb_populate_record(NULL::long_table_data_classifications, $1)).*
             ON CONFLICT (table_name, metric_name) DO UPDATE SET classification = excluded.classification"
        }
        RuleTable::ColumnRestrictions => {
            "INSERT INTO column_restrictions SELECT (jsonb_populate_record(NULL::column_restrictions, $1)).*
             ON CONFLICT (table_name, kind, name) DO UPDATE SET
                 (action, params, owner, reason, expires_at)
               = (excluded.action, excluded.params, excluded.owner, excluded.reason, excluded.expires_at)"
        }
        RuleTable::PiiRules => {
            "INSERT INTO pii_rules (rules) SELECT (jsonb_populate_record(NULL::pii_rules, $1)).rules
             ON CONFLICT (only_row) DO UPDATE SET rules = excluded.rules"
        }
    }
}

/// Takes out the row with the key of this one, given as JSON.
pub(super) fn delete(table: RuleTable) -> &'static str {
    match table {
        RuleTable::ExportTables => {
            "DELETE FROM export_tables AS rule USING jsonb_populate_record(NULL::export_tables, $1) AS gone
             WHERE rule.table_name = gone.table_name"
        }
        RuleTable::DataColumnClassification => {
            "DELETE FROM data_column_classification AS rule
             USING jsonb_populate_record(NULL::data_column_classification, $1) AS gone
             WHERE (rule.table_name, rule.column_name) = (gone.table_name, gone.column_name)"
        }
        RuleTable::ActualDataClassifications => {
            "DELETE FROM actual_data_classifications AS rule
             USING jsonb_populate_record(NULL::actual_data_classifications, $1) AS gone
             WHERE rule.source = gone.source"
        }
        RuleTable::LongTableDataClassifications => {
            "DELETE FROM long_table_data_classifications AS rule
             USING jsonb_populate_record(NULL::long_table_data_classifications, $1) AS gone
             WHERE (rule.table_name, rule.metric_name) = (gone.table_name, gone.metric_name)"
        }
        RuleTable::ColumnRestrictions => {
            "DELETE FROM column_restrictions AS rule USING jsonb_populate_record(NULL::column_restrictions, $1) AS gone
             WHERE (rule.table_name, rule.kind, rule.name) = (gone.table_name, gone.kind, gone.name)"
        }
        RuleTable::PiiRules => {
            "DELETE FROM pii_rules AS rule USING jsonb_populate_record(NULL::pii_rules, $1) AS gone
             WHERE rule.rules = gone.rules"
        }
    }
}

//! Every error code has its page, and every page its code.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use data_exporter::error::ErrorCode;

#[test]
fn every_code_has_a_page_and_every_page_a_code() {
    let pages = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/errors");
    let codes: BTreeSet<String> = ErrorCode::ALL.iter().map(ToString::to_string).collect();
    let files: BTreeSet<String> = fs::read_dir(&pages)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter_map(|name| name.strip_suffix(".md").map(str::to_owned))
        .filter(|name| name != "README")
        .collect();
    assert_eq!(codes, files);

    let index = fs::read_to_string(pages.join("README.md")).unwrap();
    for code in ErrorCode::ALL {
        let page = fs::read_to_string(pages.join(format!("{code}.md"))).unwrap();
        assert_eq!(page.lines().next(), Some(format!("# {code}").as_str()));
        let text = page.split_whitespace().collect::<Vec<_>>().join(" ");
        for part in ["## Why it happens", "## What to do", "As a requester:", "As an operator:"] {
            assert!(text.contains(part), "{code}.md has no '{part}'");
        }
        assert!(text.contains(&format!("`retryable` is {}", code.retryable())), "{code}.md tells retryable wrongly");
        let row = format!("| [{code}]({code}.md) |");
        let row =
            index.lines().find(|line| line.starts_with(&row)).unwrap_or_else(|| panic!("{code} is not in the index"));
        assert!(row.ends_with(if code.retryable() { "| yes |" } else { "| no |" }), "{row}");
    }
}

//! The tree itself, held against every rule: `cargo xtask tidy` and `cargo xtask deps` as tests.

#![allow(clippy::expect_used, reason = "a test stops where the tree cannot be read")]

use xtask::{Check, Tree};

/// Runs the rule with this name and prints what breaks it.
fn hold(checks: &[Check], name: &str) {
    let tree = Tree::read_workspace().expect("the workspace can be read");
    let check = checks.iter().find(|check| check.name == name).expect("the rule exists");
    let findings = (check.run)(&tree);
    let text: Vec<String> = findings.iter().map(ToString::to_string).collect();
    assert!(findings.is_empty(), "{} places break {name}:\n{}", text.len(), text.join("\n"));
}

/// One test for each rule, and one that no rule was left out.
macro_rules! rules {
    ($module:ident: $($name:ident)*) => {
        mod $module {
            $(#[test]
            fn $name() {
                super::hold(xtask::$module::CHECKS, stringify!($name));
            })*

            #[test]
            fn every_rule_is_a_test() {
                let names: Vec<&str> = xtask::$module::CHECKS.iter().map(|check| check.name).collect();
                assert_eq!(names, [$(stringify!($name)),*]);
            }
        }
    };
}

rules! { tidy:
    exceptions_are_needed
    files_are_short
    functions_are_short
    lines_fit
    lines_end_clean
    no_path_of_a_machine
    nothing_is_left_for_later
    every_file_tells_what_it_is
    no_test_is_ignored
    pure_crates_are_pure
    crates_take_the_workspaces_lints
    unsafe_stands_where_it_is_listed
    cores_have_the_same_inside
    links_lead_somewhere
    every_page_is_linked
    tests_that_pages_name_exist
    c_files_name_their_licence
    every_drop_is_explained
    fuzz_targets_have_a_corpus
}

rules! { deps:
    rules_can_be_read
    crates_point_inwards
    listed_edges_are_needed
    pure_crates_use_listed_libraries_only
    versions_stand_in_one_place
    dependencies_are_used
    every_library_has_its_why
}

//! The policy file as a whole: each error and warning, and where it points.

use std::collections::HashMap;
use std::fmt::Write as _;

use mpls_xdp_ebpf::policy::{Inner, Mode, Role, Special, SpecialSet};

use super::{
    ContextId, ContextKind, Diagnostic, LiveFacts, Parsed, Policy, Severity, check_live, parse,
};

/// The example of the semantics.
const EXAMPLE: &str = r#"version = 1

[defaults]
mode = "enforce"            # for every ingress that names none, and for unbound frames

[contexts.core]
kind = "transport"
labels = ["16000-23999"]     # integers or "first-last", inclusive, 16..1048575

[contexts.own-sids]
kind = "transport"
labels = [16007]
pops = true                  # the next entry is looked up here as well

[contexts.red]
kind = "vrf"
labels = [100, "1000-1099"]

[ingress.ce-red-1]
interface = "eth1"
role = "customer"

[ingress.peer-as65001]
interface = "eth2"
vlan = [100]                 # or [200, 100], outer to inner; absent: untagged
role = "peer"
contexts = ["red"]
labels = ["24000-24063"]     # distributed to this neighbour, whatever their context
mode = "monitor"
max-depth = 1                # label entries, 1..32; default 16, for a core 32
inner = "opaque"             # or "validate": every entry must be acceptable, not only exposed ones
special = ["entropy"]        # replaces the role's default set

[ingress.core-a]
interface = "eth3"
role = "core"
contexts = ["core", "own-sids", "red"]
"#;

/// A diagnostic as the tests compare it: code, line, column, offending text.
type Seen<'d> = (&'d str, usize, usize, &'d str);

fn seen(diagnostics: &[Diagnostic]) -> Vec<Seen<'_>> {
    diagnostics.iter().map(|d| (d.code, d.line, d.column, d.offending.as_str())).collect()
}

fn assert_errors(text: &str, expected: &[Seen<'_>]) {
    let parsed = parse("p.toml", text);
    assert_eq!(seen(&parsed.errors), expected, "{text}");
    assert_eq!(parsed.policy.is_none(), !expected.is_empty());
    let severities = |severity| move |d: &Diagnostic| d.severity == severity && !d.help.is_empty();
    assert!(parsed.errors.iter().all(severities(Severity::Error)));
    assert!(parsed.warnings.iter().all(severities(Severity::Warning)));
}

fn assert_warnings(text: &str, expected: &[Seen<'_>]) -> Parsed {
    let parsed = parse("p.toml", text);
    assert_eq!(seen(&parsed.errors), []);
    assert_eq!(seen(&parsed.warnings), expected, "{text}");
    assert!(parsed.policy.is_some());
    parsed
}

/// A policy whose ingress `x`, a core with the context `c`, has `lines` from line 8 on.
fn with_ingress(lines: &str) -> String {
    format!(
        "version = 1\n[contexts.c]\nkind = \"transport\"\nlabels = [16]\n[ingress.x]\n\
         interface = \"e\"\ncontexts = [\"c\"]\n{lines}"
    )
}

/// A policy whose context `c` has `lines` from line 3 on.
fn with_context(lines: &str) -> String {
    format!(
        "version = 1\n[contexts.c]\n{lines}\n[ingress.x]\ninterface = \"e\"\nrole = \"core\"\n\
         contexts = [\"c\"]\n"
    )
}

fn with_labels(list: &str) -> String {
    with_context(&format!("kind = \"transport\"\nlabels = {list}"))
}

fn policy(text: &str) -> Policy {
    assert_warnings(text, &[]).policy.unwrap()
}

fn message(text: &str, code: &str) -> (String, String) {
    let parsed = parse("p.toml", text);
    let mut all = parsed.errors.into_iter().chain(parsed.warnings);
    let found = all.find(|d| d.code == code).unwrap();
    (found.message, found.help)
}

#[test]
fn the_example_is_valid() {
    let expected = [("label-in-two-contexts", 12, 11, "16007")];
    let parsed = assert_warnings(EXAMPLE, &expected);
    let warning = &parsed.warnings[0];
    let text = "the label 16007 is in two contexts, `core` and `own-sids`";
    assert_eq!(warning.message, text);
    assert_eq!((warning.related[0].line, warning.related[0].column), (8, 11));

    let policy = parsed.policy.unwrap();
    assert_eq!(policy.default_mode, Mode::Enforce);
    let contexts: Vec<_> =
        policy.contexts.iter().map(|c| (c.name.as_str(), c.kind, c.labels.len(), c.pops)).collect();
    assert_eq!(
        contexts,
        [
            ("core", ContextKind::Transport, 8000, false),
            ("own-sids", ContextKind::Transport, 1, true),
            ("red", ContextKind::Vrf, 101, false),
        ]
    );
    let [customer, peer, core] = policy.ingresses.try_into().unwrap();
    assert_eq!((customer.name.as_str(), customer.role), ("ce-red-1", Role::Customer));
    assert_eq!((customer.max_depth, customer.labels), (16, None));
    assert_eq!(peer.interface.as_str(), "eth2");
    assert_eq!(peer.vlans.iter().map(|v| v.get()).collect::<Vec<_>>(), [100]);
    assert_eq!(peer.contexts, [ContextId(2)]);
    assert_eq!(peer.labels.unwrap().ranges(), [24_000..=24_063]);
    assert_eq!((peer.mode, peer.max_depth, peer.inner), (Mode::Monitor, 1, Inner::Opaque));
    assert_eq!(peer.special, SpecialSet::EMPTY.with(Special::Entropy));
    assert_eq!(core.contexts, [0, 1, 2].map(ContextId));
    assert_eq!((core.mode, core.max_depth), (Mode::Enforce, 32));
    assert_eq!(core.special, Role::Core.default_special());
}

#[test]
fn the_tables_stay_in_file_order() {
    let mut text = "version = 1\n".to_owned();
    for name in ["z", "a", "m", "0"] {
        let _ = writeln!(text, "[ingress.{name}]\ninterface = \"{name}\"\nrole = \"customer\"");
    }
    let policy = policy(&text);
    let names: Vec<_> = policy.ingresses.iter().map(|i| i.name.as_str()).collect();
    assert_eq!(names, ["z", "a", "m", "0"]);
}

#[test]
fn defaults_are_filled_in() {
    let text = "version = 1\n[defaults]\nmode = \"monitor\"\n[ingress.x]\ninterface = \"e\"\n\
                role = \"peer\"\nlabels = [16]\n[ingress.y]\ninterface = \"f\"\nrole = \"core\"\n\
                labels = [17]\nmode = \"enforce\"\nspecial = []\nvlan = []\ninner = \"validate\"\n";
    let policy = policy(text);
    let [x, y] = policy.ingresses.try_into().unwrap();
    assert_eq!(policy.default_mode, Mode::Monitor);
    assert_eq!((x.mode, x.max_depth, x.special), (Mode::Monitor, 16, SpecialSet::EMPTY));
    assert_eq!((y.mode, y.special, y.inner), (Mode::Enforce, SpecialSet::EMPTY, Inner::Validate));
    assert!(y.vlans.is_empty());
}

#[test]
fn several_errors_are_found_together() {
    let text = r#"version = 2
[contexts.red]
kind = "vpn"
labels = [15, 100]
[contexts.Blue]
kind = "vrf"
labels = ["20-17"]
[ingress.a]
interface = "eth0/1"
role = "peer"
contexts = ["red", "Blue", "green"]
[ingress.b]
interface = "eth1"
vlan = [4095]
role = "core"
speed = 10
[ingress.c]
interface = "eth1"
role = "customer"
labels = []
"#;
    assert_errors(
        text,
        &[
            ("unsupported-version", 1, 11, "2"),
            ("unknown-value", 3, 8, "\"vpn\""),
            ("label-out-of-range", 4, 11, "15"),
            ("bad-name", 5, 11, "Blue"),
            ("reversed-range", 7, 11, "\"20-17\""),
            ("bad-interface-name", 9, 13, "\"eth0/1\""),
            ("unknown-context", 11, 28, "\"green\""),
            ("vlan-out-of-range", 14, 9, "4095"),
            ("unknown-key", 16, 1, "speed"),
            ("customer-accepts-labels", 20, 1, "labels"),
        ],
    );
}

#[test]
fn an_error_is_rendered_with_its_line_and_what_would_be_valid() {
    let text = "version = 1\n[contexts.red]\nkind = \"vrf\"\nlabels = [5]\n[ingress.a]\n\
                interface = \"eth1\"\nrole = \"pere\"\n[ingress.b]\ninterface = \"eth1\"\n\
                role = \"core\"\ncontexts = [\"red\", \"rde\", \"red\"]\n";
    let parsed = parse("site.toml", text);
    let rendered: Vec<_> = parsed.errors.iter().map(|e| e.render(text, false)).collect();
    let expected = r#"
error[label-out-of-range]: 5 is not within 16..1048575
 --> site.toml:4:11
  |
4 | labels = [5]
  |           ^
  |
  = help: 16..1048575; for the labels 0 to 15 there is `special`
error[unknown-value]: there is no role `pere`
 --> site.toml:7:8
  |
7 | role = "pere"
  |        ^^^^^^
  |
  = help: did you mean `peer`? valid: `customer`, `peer` or `core`
error[duplicate-ingress]: the ingresses `a` and `b` have the same interface and VLANs: `eth1`, untagged
 --> site.toml:9:13
  |
9 | interface = "eth1"
  |             ^^^^^^
  |
 ::: site.toml:6:13
  |
6 | interface = "eth1"
  |             ------ the first one
  |
  = help: another `interface` or another `vlan` for one of them, or one ingress for both
error[unknown-context]: there is no context `rde`
  --> site.toml:11:20
   |
11 | contexts = ["red", "rde", "red"]
   |                    ^^^^^
   |
   = help: did you mean `red`? valid: `red`
error[duplicate-context]: the context `red` is in this list twice
  --> site.toml:11:27
   |
11 | contexts = ["red", "rde", "red"]
   |             -----         ^^^^^
   |             |
   |             first here
   |
   = help: name it once"#;
    assert_eq!(rendered.join("\n"), expected.trim_start());
}

#[test]
fn color_is_asked_for() {
    let parsed = parse("p.toml", "");
    assert!(!parsed.errors[0].render("", false).contains('\u{1b}'));
    assert!(parsed.errors[0].render("", true).contains('\u{1b}'));
}

#[test]
fn a_control_character_does_not_reach_the_terminal() {
    let text = "version = 1\n[contexts.\"a\\u001b[31m\"]\nkind = \"\\u001b\"\nlabels = [\"\\u001b\"]\n\
                \"k\\u001b\" = 1\n[ingress.\"\\u0007\"]\n\"\\u001b\" = {}\ninterface = \"\\u001b:\"\n\
                role = \"\\u001b\"\ncontexts = [\"\\u001b\"]\nspecial = [\"\\u001b\", \"\\u001b\"]\n";
    let parsed = parse("p.toml", text);
    assert!(parsed.errors.len() > 10);
    for error in parsed.errors {
        assert!(!error.render(text, false).contains(['\u{1b}', '\u{7}']), "{error:?}");
    }
}

#[test]
fn a_diagnostic_serializes_with_stable_names() {
    let text = with_ingress("role = \"core\"\nspecial = [\"gal\", \"gal\"]\n");
    let error = &parse("p.toml", &text).errors[0];
    let json = serde_json::to_value(error).unwrap();
    let expected = serde_json::json!({
        "severity": "error", "code": "duplicate-special",
        "message": "`gal` is in this list twice", "file": "p.toml", "line": 9, "column": 19,
        "offending": "\"gal\"", "help": "name it once",
        "related": [{"message": "first here", "line": 9, "column": 12}],
    });
    assert_eq!(json, expected);
}

mod syntax {
    use super::{assert_errors, message, parse};

    #[test]
    fn a_syntax_error_has_a_position() {
        assert_errors("version = 1\n[ingress.a\n", &[("toml-syntax", 2, 11, "")]);
        assert_errors("version = 1\nkey\n", &[("toml-syntax", 2, 4, "")]);
        let text = "version = 1\n[ingress.ä]\n";
        assert_errors(text, &[("toml-syntax", 2, 10, "ä")]);
    }

    #[test]
    fn what_follows_from_a_broken_structure_is_not_reported() {
        let text = "version = 1\n[contexts.c]\nlabels = [1, 2\n[ingress.a]\nx = 2\n";
        assert_errors(text, &[("toml-syntax", 4, 1, "")]);
    }

    #[test]
    fn a_value_without_quotes_hides_no_other_error() {
        let text = "version = 1\n[contexts.c]\nkind = vrf\nlabels = [1000-1099, 016, 5]\n\
                    [ingress.a]\ninterface = eth1\nrole = \"pere\"\ncontexts = [\"c\"]\n";
        let expected = [
            ("toml-syntax", 3, 8, "vrf"),
            ("toml-syntax", 4, 11, "1000-1099"),
            ("toml-syntax", 4, 22, "0"),
            ("label-out-of-range", 4, 27, "5"),
            ("toml-syntax", 6, 13, "eth1"),
            ("unknown-value", 7, 8, "\"pere\""),
        ];
        assert_errors(text, &expected);
        let errors = parse("p.toml", text).errors;
        assert_eq!(errors[0].help, "with quotes: \"vrf\"");
        assert_eq!(errors[1].help, "with quotes: \"1000-1099\"");
    }

    #[test]
    fn a_key_or_table_that_is_there_twice_hides_no_other_error() {
        let text = "version = 1\nversion = 1\n[ingress.a]\ninterface = \"e\"\nrole = \"customer\"\n\
                    [ingress.a]\nrole = \"core\"\nmax-depth = 0\n";
        let expected = [
            ("duplicate-key", 2, 1, "version"),
            ("duplicate-key", 6, 10, "a"),
            ("duplicate-key", 7, 1, "role"),
            ("depth-out-of-range", 8, 13, "0"),
        ];
        assert_errors(text, &expected);
    }

    #[test]
    fn positions_hold_after_a_byte_order_mark_and_with_dos_line_ends() {
        let text = "\u{feff}version = 3\r\n[ingress.a]\r\ninterface = \"e\"\r\nrole = \"x\"\r\n";
        assert_errors(
            text,
            &[("unsupported-version", 1, 11, "3"), ("unknown-value", 4, 8, "\"x\"")],
        );
        let rendered = parse("p.toml", text).errors[0].render(text, false);
        assert!(rendered.contains("--> p.toml:1:11\n"), "{rendered}");
        assert!(rendered.contains("\n1 | version = 3\n"), "{rendered}");
    }

    #[test]
    fn columns_count_characters() {
        let text = "version = 1 # π\nπ = 1\n\"ππ\" = { }\n[ingress]\n\"π\" = 5\n";
        let expected = [("toml-syntax", 2, 1, "π")];
        assert_errors(text, &expected);
        let text = "version = 1\ningress = { \"π\" = 5 }\n";
        assert_errors(text, &[("bad-name", 2, 13, "\"π\""), ("wrong-type", 2, 19, "5")]);
    }

    #[test]
    fn deep_nesting_is_refused() {
        let text = format!("version = 1\nx = {}", "[".repeat(100_000));
        assert_eq!(parse("p.toml", &text).errors.len(), 1);
    }

    #[test]
    fn the_help_says_that_more_may_follow() {
        let (_, help) = message("version = 1\n[ingress.a\n", "toml-syntax");
        assert_eq!(help, "expected `]`; the rest of the file is checked when this is right");
    }
}

mod document {
    use super::{assert_errors, assert_warnings, message, with_context, with_ingress};

    #[test]
    fn the_version_must_be_one() {
        assert_errors("", &[("missing-key", 1, 1, "")]);
        assert_errors("# none\n[defaults]\n", &[("missing-key", 1, 1, "# none")]);
        assert_errors("version = 0\n", &[("unsupported-version", 1, 11, "0")]);
        assert_errors("version = 2\n", &[("unsupported-version", 1, 11, "2")]);
        assert_errors("version = -1\n", &[("unsupported-version", 1, 11, "-1")]);
        let huge = "99999999999999999999999999";
        let text = format!("version = {huge}\n");
        assert_errors(&text, &[("unsupported-version", 1, 11, huge)]);
        assert_errors("version = \"1\"\n", &[("wrong-type", 1, 11, "\"1\"")]);
        assert_errors("version = 1.0\n", &[("wrong-type", 1, 11, "1.0")]);
    }

    #[test]
    fn a_policy_without_an_ingress_is_valid() {
        assert_warnings("version = 1\n", &[("no-ingress", 1, 1, "version = 1")]);
        assert_warnings("version = 0x1\n", &[("no-ingress", 1, 1, "version = 0x1")]);
        assert_warnings("version = 1\n[ingress]\n", &[("no-ingress", 1, 1, "version = 1")]);
    }

    #[test]
    fn unknown_keys_are_found_at_every_level() {
        let text = "version = 1\nmode = 1\n[default]\n[defaults]\nmodes = 1\n";
        let expected = [
            ("unknown-key", 2, 1, "mode"),
            ("unknown-key", 3, 2, "default"),
            ("unknown-key", 5, 1, "modes"),
        ];
        assert_errors(text, &expected);
        let text = with_context("kind = \"vrf\"\nlabels = []\nrd = \"1:1\"");
        assert_errors(&text, &[("unknown-key", 5, 1, "rd")]);
        let text = with_ingress("role = \"core\"\nmax_depth = 4\n");
        assert_errors(&text, &[("unknown-key", 9, 1, "max_depth")]);
        let (message, help) = message(&text, "unknown-key");
        assert_eq!(message, "the ingress `x` has no key `max_depth`");
        assert!(help.starts_with("did you mean `max-depth`? valid: `interface`, "), "{help}");
    }

    #[test]
    fn a_name_with_a_dot_needs_quotes() {
        let text = "version = 1\n[ingress.a.b]\ninterface = \"e\"\nrole = \"customer\"\n";
        let expected =
            [("missing-key", 2, 10, "a"), ("missing-key", 2, 10, "a"), ("unknown-key", 2, 12, "b")];
        assert_errors(text, &expected);
        let (_, help) = message(text, "unknown-key");
        assert!(help.ends_with("a name with a dot has quotes: [ingress.\"a.b\"]"), "{help}");
        let text = "version = 1\n[ingress.\"a.b\"]\ninterface = \"e\"\nrole = \"customer\"\n";
        assert_warnings(text, &[]);
    }

    #[test]
    fn tables_must_be_tables() {
        let text = "version = 1\ndefaults = 1\ncontexts = [1]\ningress = \"x\"\n";
        let expected = [
            ("wrong-type", 2, 12, "1"),
            ("wrong-type", 3, 12, "[1]"),
            ("wrong-type", 4, 11, "\"x\""),
        ];
        assert_errors(text, &expected);
        assert_errors("version = 1\n[[ingress]]\n", &[("wrong-type", 2, 1, "[[ingress]]")]);
        let text = "version = 1\n[contexts]\nred = 5\n[ingress]\nx = [\n1]\n";
        assert_errors(text, &[("wrong-type", 3, 7, "5"), ("wrong-type", 5, 5, "[")]);
    }

    #[test]
    fn the_default_mode_is_a_mode() {
        let text = "version = 1\n[defaults]\nmode = \"drop\"\n";
        assert_errors(text, &[("unknown-value", 3, 8, "\"drop\"")]);
        let text = "version = 1\n[defaults]\nmode = 1\n";
        assert_errors(text, &[("wrong-type", 3, 8, "1")]);
    }

    #[test]
    fn names_have_their_characters_and_their_length() {
        let longest = "a".repeat(63);
        let too_long = "a".repeat(64);
        for good in ["a", "0", "a_.-b", "9-", &longest] {
            let text = format!(
                "version = 1\n[ingress.\"{good}\"]\ninterface = \"e\"\nrole = \"customer\"\n"
            );
            assert_warnings(&text, &[]);
        }
        for bad in ["", "A", "aB", "-a", "_a", ".a", "a b", "ä", "a/b", &too_long] {
            let name = format!("\"{bad}\"");
            let text =
                format!("version = 1\n[ingress.{name}]\ninterface = \"e\"\nrole = \"customer\"\n");
            assert_errors(&text, &[("bad-name", 2, 10, &name)]);
            let text = format!("version = 1\n[contexts.{name}]\nkind = \"vrf\"\nlabels = []\n");
            assert_errors(&text, &[("bad-name", 2, 11, &name)]);
        }
    }

    #[test]
    fn the_names_of_rules_are_not_for_contexts() {
        for name in ["labels", "special"] {
            let text = format!("version = 1\n[contexts.{name}]\nkind = \"vrf\"\nlabels = []\n");
            assert_errors(&text, &[("reserved-context-name", 2, 11, name)]);
            let text =
                format!("version = 1\n[ingress.{name}]\ninterface = \"e\"\nrole = \"customer\"\n");
            assert_warnings(&text, &[]);
        }
    }
}

mod context {
    use super::{assert_errors, message, parse, policy, with_context, with_labels};

    #[test]
    fn kind_and_labels_are_required() {
        let expected = [("missing-key", 2, 11, "c"), ("missing-key", 2, 11, "c")];
        assert_errors(&with_context(""), &expected);
        assert_errors(&with_context("kind = \"vrf\""), &expected[..1]);
        assert_errors(&with_context("labels = [16]"), &expected[..1]);
    }

    #[test]
    fn values_have_their_types() {
        let text = with_context("kind = true\nlabels = 16\npops = 1");
        let expected =
            [("wrong-type", 3, 8, "true"), ("wrong-type", 4, 10, "16"), ("wrong-type", 5, 8, "1")];
        assert_errors(&text, &expected);
        let text = with_context("kind = \"VRF\"\nlabels = [16]");
        assert_errors(&text, &[("unknown-value", 3, 8, "\"VRF\"")]);
        let (_, help) = message(&text, "unknown-value");
        assert_eq!(help, "did you mean `vrf`? valid: `vrf` or `transport`");
    }

    #[test]
    fn labels_are_integers_strings_and_ranges() {
        let text = with_labels("[16, 1048575, \"17\", \"20-30\", 0x20, +40, 1_000, \"50-50\",]");
        let labels = &policy(&text).contexts[0].labels;
        let expected =
            [16..=17, 20..=30, 32..=32, 40..=40, 50..=50, 1000..=1000, 1_048_575..=1_048_575];
        assert_eq!(labels.ranges(), expected);
        let all = policy(&with_labels("[\"16-1048575\"]"));
        assert_eq!(all.contexts[0].labels.len(), 1_048_560);
    }

    #[test]
    fn labels_lie_between_16_and_1048575() {
        let huge = "123456789012345678901234567890";
        for bad in [
            "15",
            "1048576",
            "0",
            "-1",
            "-16",
            huge,
            "\"15\"",
            "\"1048576\"",
            "\"15-20\"",
            "\"16-1048576\"",
            "\"0-99999999999999999999\"",
        ] {
            let text = with_labels(&format!("[16, {bad}]"));
            assert_errors(&text, &[("label-out-of-range", 4, 15, bad)]);
        }
    }

    #[test]
    fn a_reversed_range_is_an_error_of_its_own() {
        let text = with_labels("[\"20-16\"]");
        assert_errors(&text, &[("reversed-range", 4, 11, "\"20-16\"")]);
        let text = with_labels("[\"20-5\"]");
        let expected =
            [("reversed-range", 4, 11, "\"20-5\""), ("label-out-of-range", 4, 11, "\"20-5\"")];
        assert_errors(&text, &expected);
    }

    #[test]
    fn a_label_is_written_with_plain_digits() {
        for bad in [
            "", "16-", "-16", " 16", "16 ", "+16", "0x10", "16 - 20", "016", "16-020", "16.0",
            "16-20-30", "1_000", "any",
        ] {
            let bad = format!("\"{bad}\"");
            let text = with_labels(&format!("[{bad}]"));
            assert_errors(&text, &[("malformed-label", 4, 11, &bad)]);
        }
    }

    #[test]
    fn a_label_has_no_other_type() {
        for bad in ["16.0", "true", "[16]", "{ a = 1 }", "1979-05-27", "inf"] {
            let text = with_labels(&format!("[{bad}]"));
            assert_errors(&text, &[("wrong-type", 4, 11, bad)]);
        }
    }

    #[test]
    fn a_context_with_errors_is_not_unknown() {
        let text = "version = 1\n[contexts]\nred = 1\nBlue = {}\n[ingress.a]\ninterface = \"e\"\n\
                    role = \"core\"\ncontexts = [\"red\", \"Blue\"]\n";
        let codes: Vec<_> = parse("p.toml", text).errors.iter().map(|e| e.code).collect();
        assert_eq!(codes, ["wrong-type", "bad-name", "missing-key", "missing-key"]);
    }

    #[test]
    fn contexts_that_cannot_be_read_are_not_unknown() {
        let rest = "[ingress.a]\ninterface = \"e\"\nrole = \"core\"\ncontexts = [\"red\"]\n";
        let text = format!("version = 1\ncontexts = 1\n{rest}");
        assert_errors(&text, &[("wrong-type", 2, 12, "1")]);
        let text = format!("version = 1\n[context.red]\nkind = \"vrf\"\nlabels = [16]\n{rest}");
        assert_errors(&text, &[("unknown-key", 2, 2, "context")]);
        let text = format!("version = 1\n{rest}");
        assert_errors(&text, &[("unknown-context", 5, 13, "\"red\"")]);
        let (_, help) = message(&text, "unknown-context");
        assert_eq!(help, "the file has no contexts: add a table like [contexts.red]");
    }
}

mod ingress {
    use std::fmt::Write as _;

    use super::{assert_errors, assert_warnings, message, parse, policy, with_ingress};

    #[test]
    fn interface_and_role_are_required() {
        let expected = [("missing-key", 2, 10, "x"), ("missing-key", 2, 10, "x")];
        assert_errors("version = 1\n[ingress.x]\n", &expected);
        assert_errors("version = 1\n[ingress.x]\nrole = \"customer\"\n", &expected[..1]);
        assert_errors("version = 1\n[ingress.x]\ninterface = \"e\"\n", &expected[..1]);
    }

    #[test]
    fn values_have_their_types() {
        let text = "version = 1\n[ingress.x]\ninterface = 1\nvlan = 100\nrole = []\ncontexts = \"c\"\n\
                    labels = {}\nmode = 1.5\nmax-depth = \"1\"\ninner = false\nspecial = \"gal\"\n";
        let expected = [
            ("wrong-type", 3, 13, "1"),
            ("wrong-type", 4, 8, "100"),
            ("wrong-type", 5, 8, "[]"),
            ("wrong-type", 6, 12, "\"c\""),
            ("wrong-type", 7, 10, "{}"),
            ("wrong-type", 8, 8, "1.5"),
            ("wrong-type", 9, 13, "\"1\""),
            ("wrong-type", 10, 9, "false"),
            ("wrong-type", 11, 11, "\"gal\""),
        ];
        assert_errors(text, &expected);
        assert_eq!(parse("p.toml", text).errors[1].help, "a list: `vlan = [100]`");
    }

    #[test]
    fn the_parts_of_lists_have_their_types() {
        let text = with_ingress("role = \"core\"\nvlan = [\"1\", 2.0]\nspecial = [7]\n")
            .replace("[\"c\"]", "[1, \"c\"]");
        let expected = [
            ("wrong-type", 7, 13, "1"),
            ("wrong-type", 9, 9, "\"1\""),
            ("wrong-type", 9, 14, "2.0"),
            ("wrong-type", 10, 12, "7"),
        ];
        assert_errors(&text, &expected);
    }

    #[test]
    fn keywords_are_known_words() {
        let text = with_ingress("role = \"Core\"\nmode = \"off\"\ninner = \"opaq\"\n");
        let expected = [
            ("unknown-value", 8, 8, "\"Core\""),
            ("unknown-value", 9, 8, "\"off\""),
            ("unknown-value", 10, 9, "\"opaq\""),
        ];
        assert_errors(&text, &expected);
        let helps: Vec<_> = parse("p.toml", &text).errors.into_iter().map(|e| e.help).collect();
        let expected = [
            "did you mean `core`? valid: `customer`, `peer` or `core`",
            "valid: `enforce` or `monitor`",
            "did you mean `opaque`? valid: `opaque` or `validate`",
        ];
        assert_eq!(helps, expected);
    }

    #[test]
    fn interfaces_have_names_that_the_kernel_takes() {
        let interface = |name: &str| {
            format!("version = 1\n[ingress.x]\ninterface = \"{name}\"\nrole = \"customer\"\n")
        };
        for good in ["a", "eth2.100", "abcdefghijklmno"] {
            assert_eq!(policy(&interface(good)).ingresses[0].interface.as_str(), good);
        }
        for bad in [
            "",
            ".",
            "..",
            "a/b",
            "a:1",
            "a b",
            "a\\tb",
            "\\u0000",
            "eth1\\u0000",
            "a\\u00a0",
            "abcdefghijklmnop",
            "ππππππππ",
        ] {
            let offending = format!("\"{bad}\"");
            assert_errors(&interface(bad), &[("bad-interface-name", 3, 13, &offending)]);
        }
    }

    #[test]
    fn vlan_ids_lie_between_1_and_4094() {
        let text = with_ingress("role = \"core\"\nvlan = [1, 4094]\n");
        let vlans = &policy(&text).ingresses[0].vlans;
        assert_eq!(vlans.iter().map(|v| v.get()).collect::<Vec<_>>(), [1, 4094]);
        for bad in ["0", "4095", "-1", "65537", "99999999999999999999"] {
            let text = with_ingress(&format!("role = \"core\"\nvlan = [7, {bad}]\n"));
            assert_errors(&text, &[("vlan-out-of-range", 9, 12, bad)]);
        }
    }

    #[test]
    fn an_ingress_has_at_most_two_vlans() {
        let text = with_ingress("role = \"core\"\nvlan = [1, 2, 0]\n");
        let expected = [("too-many-vlans", 9, 8, "[1, 2, 0]"), ("vlan-out-of-range", 9, 15, "0")];
        assert_errors(&text, &expected);
    }

    #[test]
    fn the_depth_lies_between_1_and_32() {
        for good in [1, 32] {
            let text = with_ingress(&format!("role = \"core\"\nmax-depth = {good}\n"));
            assert_eq!(policy(&text).ingresses[0].max_depth, good);
        }
        for bad in ["0", "33", "-1", "257", "99999999999999999999"] {
            let text = with_ingress(&format!("role = \"core\"\nmax-depth = {bad}\n"));
            assert_errors(&text, &[("depth-out-of-range", 9, 13, bad)]);
        }
    }

    #[test]
    fn contexts_are_known_and_there_once() {
        let text = with_ingress("role = \"core\"\n")
            .replace("[\"c\"]", "[\"c\", \"d\", \"c\", \"d\", \"longer\", \"c\"]");
        let expected = [
            ("unknown-context", 7, 18, "\"d\""),
            ("duplicate-context", 7, 23, "\"c\""),
            ("duplicate-context", 7, 28, "\"d\""),
            ("unknown-context", 7, 33, "\"longer\""),
            ("duplicate-context", 7, 43, "\"c\""),
        ];
        assert_errors(&text, &expected);
        let errors = parse("p.toml", &text).errors;
        assert_eq!(errors[0].help, "did you mean `c`? valid: `c`");
        assert_eq!([1, 4].map(|error: usize| errors[error].related[0].column), [13, 13]);
        assert_eq!(errors[3].help, "valid: `c`");
    }

    #[test]
    fn many_contexts_are_not_listed() {
        let mut text = "version = 1\n".to_owned();
        for index in 0..9 {
            let _ = writeln!(text, "[contexts.vrf-{index}]\nkind = \"vrf\"\nlabels = []");
        }
        text += "[ingress.x]\ninterface = \"e\"\nrole = \"core\"\ncontexts = [\"vfr-3\"]\n";
        let (_, help) = message(&text, "unknown-context");
        let expected = "did you mean `vrf-3`? valid: one of the 9 contexts of the file";
        assert_eq!(help, expected);
    }

    #[test]
    fn special_purpose_labels_are_known_and_there_once() {
        let text = with_ingress(
            "role = \"core\"\nspecial = [\"gal\", \"gall\", \"gal\", \"GAL\", \"13\"]\n",
        );
        let expected = [
            ("unknown-special", 9, 19, "\"gall\""),
            ("duplicate-special", 9, 27, "\"gal\""),
            ("unknown-special", 9, 34, "\"GAL\""),
            ("unknown-special", 9, 41, "\"13\""),
        ];
        assert_errors(&text, &expected);
        let (_, help) = message(&text, "unknown-special");
        assert!(help.starts_with("did you mean `gal`? valid: `explicit-null`, "), "{help}");
    }

    #[test]
    fn every_special_purpose_label_has_its_name() {
        let names = "[\"explicit-null\", \"router-alert\", \"entropy\", \"gal\", \"oam-alert\", \"extended\"]";
        let text = with_ingress(&format!("role = \"peer\"\nspecial = {names}\n"));
        assert_eq!(policy(&text).ingresses[0].special.bits(), 0x3f);
    }

    #[test]
    fn network_actions_are_refused_with_the_reason() {
        let text = with_ingress("role = \"core\"\nspecial = [\"mna\"]\n");
        assert_errors(&text, &[("mna-refused", 9, 12, "\"mna\"")]);
        let (message, help) = message(&text, "mna-refused");
        assert!(message.contains("RFC 9994") && message.contains("look like labels"), "{message}");
        assert!(help.starts_with("valid: `explicit-null`"), "{help}");
    }

    #[test]
    fn a_customer_accepts_nothing_not_even_an_empty_list() {
        let text = "version = 1\n[ingress.x]\ninterface = \"e\"\nrole = \"customer\"\n\
                    contexts = []\nlabels = []\nspecial = []\n";
        let expected = [
            ("customer-accepts-labels", 5, 1, "contexts"),
            ("customer-accepts-labels", 6, 1, "labels"),
            ("customer-accepts-labels", 7, 1, "special"),
        ];
        assert_errors(text, &expected);
    }

    #[test]
    fn a_customers_lists_are_checked_as_well() {
        let text =
            "version = 1\n[ingress.x]\ninterface = \"e\"\nrole = \"customer\"\nlabels = [5]\n";
        let expected =
            [("customer-accepts-labels", 5, 1, "labels"), ("label-out-of-range", 5, 11, "5")];
        assert_errors(text, &expected);
    }

    #[test]
    fn a_binding_belongs_to_one_ingress() {
        let binding = |name: &str, vlan: &str| {
            format!("[ingress.{name}]\ninterface = \"e\"\n{vlan}\nrole = \"customer\"\n")
        };
        let different = [
            binding("a", ""),
            binding("b", "vlan = [1]"),
            binding("c", "vlan = [1, 2]"),
            binding("d", "vlan = [2, 1]"),
            binding("e", "vlan = [1, 1]"),
        ];
        let text = format!("version = 1\n{}", different.concat());
        assert_warnings(&text, &[]);
        let more = [binding("f", "vlan = []"), binding("g", "vlan = [2, 1]"), binding("h", "")];
        let text = format!("{text}{}", more.concat());
        let expected = [
            ("duplicate-ingress", 23, 13, "\"e\""),
            ("duplicate-ingress", 27, 13, "\"e\""),
            ("duplicate-ingress", 31, 13, "\"e\""),
        ];
        assert_errors(&text, &expected);
        let errors = parse("p.toml", &text).errors;
        let firsts: Vec<_> = errors.iter().map(|e| e.related[0].line).collect();
        assert_eq!(firsts, [3, 15, 3]);
        let message =
            "the ingresses `d` and `g` have the same interface and VLANs: `e`, VLANs 2, 1";
        assert_eq!(errors[1].message, message);
    }

    #[test]
    fn an_unreadable_binding_is_not_the_same_as_another() {
        let text = "version = 1\n[ingress.a]\ninterface = \"e\"\nvlan = [0]\nrole = \"customer\"\n\
                    [ingress.b]\ninterface = \"e\"\nvlan = [0]\nrole = \"customer\"\n\
                    [ingress.c]\ninterface = \"e\"\nrole = \"customer\"\n";
        let expected = [("vlan-out-of-range", 4, 9, "0"), ("vlan-out-of-range", 8, 9, "0")];
        assert_errors(text, &expected);
    }
}

mod limits {
    use std::fmt::Write as _;

    use super::{assert_errors, parse};

    /// `count` customers, `per_interface` on each interface, four lines each from line 2 on.
    fn customers(count: usize, per_interface: usize) -> String {
        let mut text = "version = 1\n".to_owned();
        for index in 0..count {
            let (interface, vlan) = (index / per_interface, index % per_interface + 1);
            let _ = writeln!(
                text,
                "[ingress.i{index}]\ninterface = \"e{interface}\"\nvlan = [{vlan}]\n\
                 role = \"customer\"",
            );
        }
        text
    }

    /// 64 contexts, and enough cores that accept all of them for `rules` rules, 64 each.
    fn cores(rules: usize) -> String {
        let mut text = "version = 1\n".to_owned();
        for index in 0..64 {
            let _ = writeln!(
                text,
                "[contexts.c{index}]\nkind = \"transport\"\nlabels = [{}]",
                index + 16
            );
        }
        let contexts: Vec<_> = (0..64).map(|index| format!("\"c{index}\"")).collect();
        for index in 0..rules / 64 {
            let _ = writeln!(
                text,
                "[ingress.i{index}]\ninterface = \"e\"\nvlan = [{}]\nrole = \"core\"\n\
                 contexts = [{}]",
                index + 1,
                contexts.join(", "),
            );
        }
        text
    }

    #[test]
    fn ingresses() {
        assert_errors(&customers(4096, 4094), &[]);
        let text = customers(4098, 4094);
        assert_errors(&text, &[("too-many-ingresses", 2 + 4 * 4096, 10, "i4096")]);
        assert!(parse("p.toml", &text).errors[0].message.ends_with("not 4098"));
    }

    #[test]
    fn interfaces() {
        assert_errors(&customers(512, 2), &[]);
        let text = customers(515, 2);
        assert_errors(&text, &[("too-many-interfaces", 3 + 4 * 512, 13, "\"e256\"")]);
        assert!(parse("p.toml", &text).errors[0].message.ends_with("not 258"));
    }

    #[test]
    fn rules() {
        let text = cores(65_536);
        assert_errors(&text, &[]);
        let line = text.lines().count() + 1;
        let text = format!("{text}labels = []\n");
        assert_errors(&text, &[("too-many-rules", line, 1, "labels")]);
        assert!(parse("p.toml", &text).errors[0].message.ends_with("not 65537"));
        let text = text.replacen("\"c0\"", "\"c0\", \"c0\"", 1);
        let codes: Vec<_> = parse("p.toml", &text).errors.iter().map(|e| e.code).collect();
        assert_eq!(codes, ["duplicate-context", "too-many-rules"]);
    }
}

mod warnings {
    use std::fmt::Write as _;

    use super::{assert_warnings, parse, seen, with_context, with_ingress, with_labels};

    /// A `vrf` context `v` and an ingress with `lines` from line 6 on.
    fn with_vrf(lines: &str) -> String {
        format!(
            "version = 1\n[contexts.v]\nkind = \"vrf\"\nlabels = [16]\n[ingress.x]\n\
             interface = \"e\"\ncontexts = [\"v\"]\n{lines}"
        )
    }

    #[test]
    fn one_warning_for_each_pair_of_contexts_that_share_labels() {
        let text = r#"version = 1
[contexts.a]
kind = "transport"
labels = ["100-200", 300, 400]
[contexts.b]
kind = "transport"
labels = [50, "150-160", 400]
[contexts.c]
kind = "transport"
labels = ["155-158", 300]
[contexts.d]
kind = "transport"
labels = [201]
[ingress.x]
interface = "e"
role = "core"
contexts = ["a", "b", "c", "d"]
"#;
        let expected = [
            ("label-in-two-contexts", 7, 15, "\"150-160\""),
            ("label-in-two-contexts", 10, 11, "\"155-158\""),
            ("label-in-two-contexts", 10, 11, "\"155-158\""),
        ];
        let warnings = assert_warnings(text, &expected).warnings;
        let texts: Vec<_> = warnings.iter().map(|w| w.message.as_str()).collect();
        let expected = [
            "the labels 150-160 (and 1 more) are in two contexts, `a` and `b`",
            "the labels 155-158 (and 1 more) are in two contexts, `a` and `c`",
            "the labels 155-158 are in two contexts, `b` and `c`",
        ];
        assert_eq!(texts, expected);
        let others: Vec<_> = warnings.iter().map(|w| w.related[0].line).collect();
        assert_eq!(others, [4, 4, 7]);
    }

    #[test]
    fn too_many_pairs_are_not_all_named() {
        let mut text = "version = 1\n".to_owned();
        for index in 0..100 {
            let _ = writeln!(text, "[contexts.c{index}]\nkind = \"vrf\"\nlabels = [16]");
        }
        let warnings = parse("p.toml", &text).warnings;
        let pairs = warnings.iter().filter(|w| w.code == "label-in-two-contexts");
        let (named, rest): (Vec<_>, Vec<_>) = pairs.partition(|w| !w.related.is_empty());
        assert_eq!((named.len(), rest.len()), (1_000, 1));
        assert_eq!(rest[0].message, "more than 1000 pairs of contexts share labels");
    }

    #[test]
    fn contexts_with_errors_share_labels_as_well() {
        let text = "version = 1\n[contexts.a]\nkind = 1\nlabels = [16]\n[contexts.b]\n\
                    kind = \"vrf\"\nlabels = [5, 16]\n";
        let parsed = parse("p.toml", text);
        assert_eq!(parsed.errors.len(), 2);
        assert_eq!(seen(&parsed.warnings), [("label-in-two-contexts", 7, 14, "16")]);
    }

    #[test]
    fn overlapping_ranges_in_one_list() {
        let text = with_labels("[\"20-30\", 25, \"30-40\", 41]");
        let expected =
            [("overlapping-ranges", 4, 20, "25"), ("overlapping-ranges", 4, 24, "\"30-40\"")];
        let warnings = assert_warnings(&text, &expected).warnings;
        assert_eq!(warnings[0].message, "25 overlaps 20-30 in the same list");
        assert_eq!(warnings[0].related[0].column, 11);
        let text = with_ingress("role = \"core\"\nlabels = [17, 17]\n");
        assert_warnings(&text, &[("overlapping-ranges", 9, 15, "17")]);
    }

    #[test]
    fn an_ingress_that_accepts_nothing() {
        let ingress = |role: &str, lines: &str| {
            format!("version = 1\n[ingress.x]\ninterface = \"e\"\nrole = \"{role}\"\n{lines}")
        };
        let expected = [("accepts-nothing", 2, 10, "x")];
        assert_warnings(&ingress("peer", ""), &expected);
        assert_warnings(&ingress("core", "contexts = []\nlabels = []\n"), &expected);
        assert_warnings(&ingress("core", "special = [\"explicit-null\"]\n"), &expected);
        assert_warnings(&ingress("core", "labels = [16]\n"), &[]);
        assert_warnings(&ingress("customer", ""), &[]);
        let text = with_labels("[]");
        assert_warnings(&text, &[("accepts-nothing", 5, 10, "x")]);
    }

    #[test]
    fn a_deep_stack_of_a_peer_with_a_vrf() {
        let code = "deep-peer-vrf";
        assert_warnings(&with_vrf("role = \"peer\"\nmax-depth = 1\n"), &[]);
        assert_warnings(&with_vrf("role = \"peer\"\nmax-depth = 2\n"), &[(code, 9, 13, "2")]);
        let warnings = assert_warnings(&with_vrf("role = \"peer\"\n"), &[(code, 7, 13, "\"v\"")]);
        let expected = "the peer `x` accepts a `vrf` context and stacks of 16 entries: a VPN label \
                        from an option B neighbour is the last entry";
        assert_eq!(warnings.warnings[0].message, expected);
        assert_warnings(&with_vrf("role = \"core\"\n"), &[]);
        assert_warnings(&with_ingress("role = \"peer\"\n"), &[]);
    }

    #[test]
    fn examining_what_lies_under_a_vrf_label() {
        let expected = [("validate-under-vrf", 9, 9, "\"validate\"")];
        assert_warnings(&with_vrf("role = \"core\"\ninner = \"validate\"\n"), &expected);
        assert_warnings(&with_vrf("role = \"core\"\ninner = \"opaque\"\n"), &[]);
        assert_warnings(&with_ingress("role = \"core\"\ninner = \"validate\"\n"), &[]);
    }

    #[test]
    fn a_vrf_that_pops() {
        let context =
            |kind, pops| with_context(&format!("kind = \"{kind}\"\nlabels = [16]\npops = {pops}"));
        assert_warnings(&context("vrf", true), &[("vrf-pops", 5, 8, "true")]);
        assert_warnings(&context("vrf", false), &[]);
        assert_warnings(&context("transport", true), &[]);
    }

    #[test]
    fn a_context_that_no_ingress_accepts() {
        let context = "[contexts.d]\nkind = \"vrf\"\nlabels = [17]\n";
        let text = format!("{}{context}", with_ingress("role = \"core\"\n"));
        assert_warnings(&text, &[("unused-context", 9, 11, "d")]);
    }

    #[test]
    fn what_is_left_out_may_stand_in_the_broken_part() {
        let text = "version = 1\n[contexts.d]\nkind = \"vrf\"\nlabels = [17]\n[ingress.x]\n\
                    interface = \"e\"\nrole = \"core\"\ncontext = [\"d\"]\n";
        let parsed = parse("p.toml", text);
        assert_eq!(seen(&parsed.errors), [("unknown-key", 8, 1, "context")]);
        assert_eq!(seen(&parsed.warnings), []);
    }
}

struct Router(HashMap<&'static str, Option<(&'static str, u16)>>);

impl LiveFacts for Router {
    fn exists(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    fn vlan_device(&self, name: &str) -> Option<(String, u16)> {
        let (port, vlan) = self.0.get(name).copied().flatten()?;
        Some((port.to_owned(), vlan))
    }
}

fn router() -> Router {
    Router(HashMap::from([
        ("eth1", None),
        ("eth2.1", None),
        ("eth1.100", Some(("eth1", 100))),
        ("inner", Some(("eth1.100", 7))),
        ("loop", Some(("loop", 1))),
    ]))
}

/// One customer on each of `bindings`, three lines each from line 2 on.
fn customers_on(bindings: &[&str]) -> String {
    let mut text = "version = 1\n".to_owned();
    for (index, binding) in bindings.iter().enumerate() {
        let _ = writeln!(text, "[ingress.i{index}]\nrole = \"customer\"\n{binding}");
    }
    text
}

#[test]
fn an_interface_that_is_not_there_is_a_warning_once() {
    let text = customers_on(&[
        "interface = \"eth1\"",
        "interface = \"eth9\"",
        "vlan = [5]\ninterface = \"eth9\"",
        "interface = \"eth2.1\"",
    ]);
    let live = check_live(&parse("p.toml", &text), &router());
    assert_eq!(seen(&live), [("interface-absent", 7, 13, "\"eth9\"")]);
    assert_eq!(live[0].severity, Severity::Warning);
}

#[test]
fn a_vlan_device_is_an_error_that_names_its_port() {
    let text = customers_on(&[
        "interface = \"eth1.100\"",
        "interface = \"inner\"",
        "interface = \"eth1.100\"\nvlan = [9]",
        "interface = \"inner\"\nvlan = [9]",
        "interface = \"loop\"",
    ]);
    let live = check_live(&parse("p.toml", &text), &router());
    let expected = [
        ("vlan-device", 4, 13, "\"eth1.100\""),
        ("vlan-device", 7, 13, "\"inner\""),
        ("vlan-device", 10, 13, "\"eth1.100\""),
        ("vlan-device", 14, 13, "\"inner\""),
        ("vlan-device", 18, 13, "\"loop\""),
    ];
    assert_eq!(seen(&live), expected);
    let helps: Vec<_> = live.iter().map(|d| d.help.as_str()).collect();
    let too_many = |port| {
        format!("`interface = \"{port}\"`; an ingress with more than two VLAN IDs is not possible")
    };
    let expected = [
        "`interface = \"eth1\"` and `vlan = [100]`",
        "`interface = \"eth1\"` and `vlan = [100, 7]`",
        "`interface = \"eth1\"` and `vlan = [100, 9]`",
        &too_many("eth1"),
        &too_many("loop"),
    ];
    assert_eq!(helps, expected);
    assert!(live.iter().all(|d| d.severity == Severity::Error));
    let rendered = live[0].render(&text, false);
    assert!(rendered.contains("--> p.toml:4:13\n"), "{rendered}");
}

#[test]
fn the_interfaces_of_a_file_with_errors_are_compared_too() {
    let text = customers_on(&["interface = \"eth1.100\"", "interface = \"a/b\""]);
    let parsed = parse("p.toml", &text);
    assert!(parsed.policy.is_none());
    assert_eq!(seen(&check_live(&parsed, &router())), [("vlan-device", 4, 13, "\"eth1.100\"")]);
}

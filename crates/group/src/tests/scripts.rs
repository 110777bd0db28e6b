//! The scripts, one test each.

use super::script::run;

fn check(name: &str, script: &str) {
    let is = run(script);
    if std::env::var_os("UPDATE_SCRIPTS").is_some() {
        let path = format!("{}/src/tests/scripts/{name}.txt", env!("CARGO_MANIFEST_DIR"));
        std::fs::write(path, &is).expect("script is written");
        return;
    }
    for (line, (is, want)) in is.lines().zip(script.lines()).enumerate() {
        assert_eq!(is, want, "{name}.txt:{}", line + 1);
    }
    assert_eq!(is.lines().count(), script.lines().count(), "{name}.txt ends elsewhere");
}

macro_rules! scripts {
    ($($name:ident),+ $(,)?) => {$(
        #[test]
        fn $name() {
            check(stringify!($name), include_str!(concat!("scripts/", stringify!($name), ".txt")));
        }
    )+};
}

scripts! {
    join,
    rebalance,
    sync,
    heartbeat_and_leave,
    static_members,
    failover,
    commits,
    expiry,
    admin,
    limits,
}

//! The configuration reader over any text.
#![no_main]

use libfuzzer_sys::fuzz_target;
use postroad_metabase::settings::Settings;
use std::path::Path;

fuzz_target!(|data: &[u8]| {
    if let Ok(text) = std::str::from_utf8(data) {
        let _ = Settings::read(text, "fuzz.toml", Path::new("/nowhere"), "host.example");
    }
});

//! A Rust file as tidy sees it: its code without comments and literals, which lines of it are tests, and where its
//! items end. This is no parser: it knows just enough of Rust's tokens not to be fooled by a brace in a string.

use std::ops::RangeInclusive;

/// One Rust file. Lines are counted from 1, offsets are into `code`.
pub(super) struct Source<'a> {
    pub(super) path: &'a str,
    pub(super) text: &'a str,
    /// The text in ASCII, one byte a character, with every comment and literal blanked: lines and columns stay.
    pub(super) code: String,
    /// The lines of items marked `#[cfg(test)]`.
    unit_tests: Vec<RangeInclusive<usize>>,
}

impl<'a> Source<'a> {
    pub(super) fn new(path: &'a str, text: &'a str) -> Source<'a> {
        let mut source = Source { path, text, code: without_literals(text), unit_tests: Vec::new() };
        let marks =
            source.code.match_indices("#[cfg(test)]").map(|(start, mark)| (start, start + mark.len()));
        source.unit_tests =
            marks.map(|(start, end)| source.line_of(start)..=source.line_of(source.item_end(end))).collect();
        source
    }

    /// Whether the line belongs to tests or benchmarks, within this file or as part of such a file.
    pub(super) fn is_test(&self, line: usize) -> bool {
        is_test_file(self.path) || self.unit_tests.iter().any(|lines| lines.contains(&line))
    }

    /// Lines that are not tests.
    pub(super) fn lines_of_code(&self) -> usize {
        (1..=self.text.lines().count()).filter(|line| !self.is_test(*line)).count()
    }

    pub(super) fn line_of(&self, offset: usize) -> usize {
        1 + self.code[..offset].matches('\n').count()
    }

    /// Where `pattern` stands in the code and is not the tail of a longer name.
    pub(super) fn find(&self, pattern: &str) -> impl Iterator<Item = usize> {
        let starts = self.code.match_indices(pattern).map(|(start, _)| start);
        starts.filter(|start| !self.code[..*start].ends_with(is_name)).collect::<Vec<_>>().into_iter()
    }

    /// Where the name `word` stands.
    pub(super) fn find_word(&self, word: &str) -> impl Iterator<Item = usize> {
        self.find(word).filter(move |start| !self.code[start + word.len()..].starts_with(is_name))
    }

    /// The name that begins after `offset`, or nothing.
    pub(super) fn name_after(&self, offset: usize) -> &str {
        let rest = self.code[offset..].trim_start();
        &rest[..rest.find(|letter| !is_name(letter)).unwrap_or(rest.len())]
    }

    /// Where the item that is declared after `offset` ends: at its `;`, or at the brace that closes its body.
    pub(super) fn item_end(&self, offset: usize) -> usize {
        let mut depth = 0;
        for (at, letter) in self.code[offset..].char_indices() {
            match letter {
                '(' | '[' | '{' => depth += 1,
                ')' | ']' | '}' => depth -= 1,
                _ => {}
            }
            if depth == 0 && matches!(letter, ';' | '}') {
                return offset + at;
            }
        }
        self.code.len()
    }
}

/// Whether all of the file at `path` is tests or benchmarks.
pub(super) fn is_test_file(path: &str) -> bool {
    ["tests", "benches"].iter().any(|folder| path.split('/').any(|part| part == *folder))
        || path.ends_with("/tests.rs")
}

fn is_name(letter: char) -> bool {
    letter == '_' || letter.is_ascii_alphanumeric()
}

fn without_literals(text: &str) -> String {
    let letters: Vec<char> = text.chars().collect();
    let mut code = String::with_capacity(letters.len());
    let mut at = 0;
    while at < letters.len() {
        let opaque = opaque_length(&letters[at..]).min(letters.len() - at);
        code.extend(letters[at..at + opaque].iter().map(|letter| if *letter == '\n' { '\n' } else { ' ' }));
        at += opaque;
        if opaque == 0 {
            // A letter of another alphabet can only be part of a name.
            code.push(if letters[at].is_ascii() { letters[at] } else { '_' });
            at += 1;
        }
    }
    code
}

/// How many characters the comment or literal takes that begins here; 0 if none does.
fn opaque_length(rest: &[char]) -> usize {
    match rest {
        ['/', '/', ..] => rest.iter().position(|letter| *letter == '\n').unwrap_or(rest.len()),
        ['/', '*', ..] => block_comment_length(rest),
        ['"', ..] => quoted_length(rest),
        ['r', '"' | '#', ..] => raw_string_length(rest),
        ['\'', '\\', ..] => quoted_length(rest),
        // Not a lifetime, which has no second quote.
        ['\'', _, '\'', ..] => 3,
        _ => 0,
    }
}

fn block_comment_length(rest: &[char]) -> usize {
    let mut depth = 0;
    let mut at = 0;
    loop {
        match &rest[at..] {
            ['/', '*', ..] => (depth, at) = (depth + 1, at + 2),
            ['*', '/', ..] => (depth, at) = (depth - 1, at + 2),
            [_, ..] => at += 1,
            [] => return at,
        }
        if depth == 0 {
            return at;
        }
    }
}

/// The length of a string or character that ends at the quote it began with, unless that is escaped.
fn quoted_length(rest: &[char]) -> usize {
    let mut at = 1;
    while at < rest.len() && rest[at] != rest[0] {
        at += if rest[at] == '\\' { 2 } else { 1 };
    }
    at + 1
}

/// The length of `r#".."#`, whatever the number of its marks; 0 for a raw name such as `r#type`.
fn raw_string_length(rest: &[char]) -> usize {
    let marks = rest[1..].iter().take_while(|letter| **letter == '#').count();
    let opening = 1 + marks;
    if rest.get(opening) != Some(&'"') {
        return 0;
    }
    let is_end = |at: &usize| {
        rest[*at] == '"'
            && rest[at + 1..].iter().take(marks).filter(|letter| **letter == '#').count() == marks
    };
    (opening + 1..rest.len()).find(is_end).map_or(rest.len(), |end| end + 1 + marks)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(text: &str) -> String {
        Source::new("a.rs", text).code
    }

    #[test]
    fn literals_and_comments_are_blanked_in_place() {
        assert_eq!(code("a // b\nc"), "a     \nc");
        assert_eq!(code("a /* b /* c */ d */ e"), "a                   e");
        assert_eq!(code(r#"f("a\"b{", 'c', b'{', '\'', '\n')"#), "f(       ,    , b   ,     ,     )");
        assert_eq!(code("r##\"a\"#{\n\"## + br\"{\" + r#type"), "        \n    + b     + r#type");
        assert_eq!(code("é<'a>(x: &'a str)"), "_<'a>(x: &'a str)");
    }

    #[test]
    fn every_prefix_of_a_file_can_be_read() {
        let text =
            "fn a() { \"b\\\"\"; r#\"c\"#; 'd'; '\\n' /* e */ } // f\n#[cfg(test)]\nmod t { fn g() {} }";
        for end in 0..=text.len() {
            assert_eq!(code(&text[..end]).len(), end);
        }
    }

    #[test]
    fn item_ends_at_its_own_brace_or_semicolon() {
        let text = "fn a(x: [u8; 2]) { if b { c; } }\nuse d::{e};\n";
        let source = Source::new("a.rs", text);
        assert_eq!(source.item_end(0), text.find("}\n").unwrap() + 1 - 1);
        assert_eq!(source.item_end(text.find("use").unwrap()), text.find("};").unwrap());
    }

    #[test]
    fn unit_tests_are_the_marked_items_and_no_more() {
        let source =
            Source::new("a.rs", "#[cfg(test)]\nuse b;\nfn c() {}\n#[cfg(test)]\nmod t {\n}\nfn d() {}\n");
        let tests: Vec<usize> = (1..=7).filter(|line| source.is_test(*line)).collect();
        assert_eq!(tests, [1, 2, 4, 5, 6]);
        assert_eq!(source.lines_of_code(), 2);
        assert!(Source::new("crates/a/tests/b.rs", "fn a() {}").is_test(1));
    }

    #[test]
    fn words_are_whole() {
        let source = Source::new("a.rs", "unsafe unsafe_code not_unsafe \"unsafe\"");
        assert_eq!(source.find_word("unsafe").collect::<Vec<_>>(), [0]);
        assert_eq!(source.name_after(6), "unsafe_code");
    }
}

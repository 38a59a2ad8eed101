//! Finds a password in the text of a [password file].
//!
//! [password file]: https://www.postgresql.org/docs/current/libpq-pgpass.html

use super::options::{ConnectOptions, Password};

/// The password of the first line that fits `options`, `None` if there is none. A socket directory
/// is matched by its own path and by `localhost`.
#[must_use]
pub fn password_from_passfile(text: &str, options: &ConnectOptions) -> Option<Password> {
    let port = options.port.to_string();
    let on_socket = options.socket_directory().is_some();
    text.lines().filter(|line| !line.starts_with('#')).find_map(|line| {
        let [host, of_port, database, user, password] = fields(line)?;
        let fits = |field: &str, value: &str| field == "*" || field == value;
        (fits(&host, &options.host) || (on_socket && host == "localhost"))
            .then_some(())
            .filter(|()| fits(&of_port, &port))
            .filter(|()| fits(&database, &options.database))
            .filter(|()| fits(&user, &options.user))
            .map(|()| Password::new(password))
    })
}

/// The five fields of a line, their escapes undone: `\:` and `\\`.
fn fields(line: &str) -> Option<[String; 5]> {
    let mut fields = vec![String::new()];
    let mut chars = line.chars();
    while let Some(char) = chars.next() {
        match char {
            // The password is the rest of the line: a colon in it may go without its backslash.
            ':' if fields.len() < 5 => fields.push(String::new()),
            '\\' => fields.last_mut()?.push(chars.next().unwrap_or('\\')),
            other => fields.last_mut()?.push(other),
        }
    }
    <[String; 5]>::try_from(fields).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_line_that_fits_gives_the_password() {
        let check = |url: &str, text: &str, expected: Option<&str>| {
            let options: ConnectOptions = url.parse().unwrap();
            let found = password_from_passfile(text, &options);
            assert_eq!(found.as_ref().map(Password::expose), expected, "{url} {text}");
        };
        let tcp = "postgres://ann@db:5433/shop";
        check(tcp, "", None);
        check(tcp, "db:5433:shop:ann:one\n*:*:*:*:two", Some("one"));
        check(tcp, "# db:5433:shop:ann:one\ndb:5432:shop:ann:x\n*:*:*:ann:two", Some("two"));
        check(tcp, "db:*:shop:ann:a\\:b\\\\c:d", Some("a:b\\c:d"));
        check(tcp, "db:5433:shop\nlocalhost:*:*:*:x", None);
        check("postgres://ann@/shop?host=/run/pg", "localhost:5432:*:ann:s", Some("s"));
        check("postgres://ann@/shop?host=/run/pg", "/run/pg:*:*:*:s", Some("s"));
    }
}

//! Who may call what: a bearer token has a role, a method needs one. Decided without looking at anything else.

use crate::serve::settings::ServeSettings;
use std::net::IpAddr;
use subtle::{Choice, ConstantTimeEq};

/// What a method needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Needs {
    /// Health and reflection.
    Nothing,
    Read,
    Admin,
}

pub struct Tokens {
    read: Vec<Vec<u8>>,
    admin: Vec<Vec<u8>>,
}

/// Why a call is not allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// It has to bring a token that is known.
    Unknown,
    /// What it brings may do other things.
    Forbidden,
}

/// A call that is not allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Denial {
    pub reason: Reason,
    /// What is wrong, and what to do.
    pub text: &'static str,
    /// A token was sent that is none: somebody guesses, or has an old one.
    pub wrong_token: bool,
}

impl Tokens {
    pub fn of(settings: &ServeSettings) -> Tokens {
        let bytes = |tokens: &[String]| tokens.iter().map(|token| token.clone().into_bytes()).collect();
        Tokens { read: bytes(&settings.read_tokens), admin: bytes(&settings.admin_tokens) }
    }

    /// # Errors
    /// Why it is not allowed.
    pub fn allow(&self, needs: Needs, authorization: Option<&[u8]>, from: Option<IpAddr>) -> Result<(), Denial> {
        if needs == Needs::Nothing {
            return Ok(());
        }
        let forbidden = |text| Err(Denial { reason: Reason::Forbidden, text, wrong_token: false });
        if self.read.is_empty() && self.admin.is_empty() {
            let near = from.is_some_and(|address| address.to_canonical().is_loopback());
            return match needs {
                Needs::Admin if !near => forbidden(
                    "no tokens are configured, so only callers on the same host may administer: set \
                     serve.admin_tokens",
                ),
                _ => Ok(()),
            };
        }
        let unknown = |text, wrong_token| Denial { reason: Reason::Unknown, text, wrong_token };
        let token = authorization.and_then(bearer);
        let token = token.ok_or_else(|| unknown("send `authorization: Bearer TOKEN`", false))?;
        let (reads, administers) = (holds(&self.read, token), holds(&self.admin, token));
        match needs {
            _ if administers => Ok(()),
            Needs::Read if reads => Ok(()),
            Needs::Admin if reads => forbidden("this token may read and not administer"),
            _ => Err(unknown("the token is not known", true)),
        }
    }
}

fn bearer(authorization: &[u8]) -> Option<&[u8]> {
    let (scheme, token) = authorization.split_at_checked("Bearer ".len())?;
    scheme.eq_ignore_ascii_case(b"Bearer ").then(|| token.trim_ascii())
}

/// Takes as long whichever token it is, and wherever a wrong one goes wrong; only its length shows.
fn holds(tokens: &[Vec<u8>], token: &[u8]) -> bool {
    tokens.iter().fold(Choice::from(0), |found, known| found | known.as_slice().ct_eq(token)).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    fn check(
        read: &[&str],
        admin: &[&str],
        needs: Needs,
        authorization: Option<&str>,
        near: bool,
        expected: Result<(), Reason>,
    ) {
        let own = |tokens: &[&str]| tokens.iter().map(|token| (*token).to_owned()).collect();
        let settings = ServeSettings { read_tokens: own(read), admin_tokens: own(admin), ..ServeSettings::default() };
        let from = if near { Ipv4Addr::LOCALHOST } else { Ipv4Addr::new(10, 1, 2, 3) };
        let allowed = Tokens::of(&settings).allow(needs, authorization.map(str::as_bytes), Some(IpAddr::from(from)));
        let wrong = authorization.is_some_and(|sent| sent.starts_with("Bearer")) && expected == Err(Reason::Unknown);
        assert_eq!(allowed.is_err_and(|denial| denial.wrong_token), wrong, "{authorization:?}");
        let allowed = allowed.map_err(|denial| denial.reason);
        assert_eq!(allowed, expected, "{read:?} {admin:?} {needs:?} {authorization:?} {near}");
    }

    #[test]
    fn roles() {
        use Needs::{Admin, Nothing, Read};
        const UNKNOWN: Result<(), Reason> = Err(Reason::Unknown);
        const FORBIDDEN: Result<(), Reason> = Err(Reason::Forbidden);
        check(&[], &[], Read, None, false, Ok(()));
        check(&[], &[], Admin, None, true, Ok(()));
        check(&[], &[], Admin, None, false, FORBIDDEN);
        let (read, admin) = (&["r1", "r2"][..], &["a"][..]);
        check(read, admin, Nothing, None, false, Ok(()));
        for near in [true, false] {
            check(read, admin, Read, None, near, UNKNOWN);
            check(read, admin, Read, Some("Bearer r3"), near, UNKNOWN);
            check(read, admin, Read, Some("Basic r1"), near, UNKNOWN);
            check(read, admin, Read, Some("bearer r2"), near, Ok(()));
            check(read, admin, Read, Some("Bearer a"), near, Ok(()));
            check(read, admin, Admin, Some("Bearer r1"), near, FORBIDDEN);
            check(read, admin, Admin, Some("Bearer a"), near, Ok(()));
            check(read, &[], Admin, Some("Bearer r1"), near, FORBIDDEN);
            check(&[], admin, Read, None, near, UNKNOWN);
        }
    }
}

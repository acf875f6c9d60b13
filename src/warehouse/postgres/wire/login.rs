//! The start of a session: who we are, the proof of it, and the settings that the server tells of.

use bytes::BytesMut;
use postgres_protocol::authentication::md5_hash;
use postgres_protocol::authentication::sasl::{ChannelBinding, SCRAM_SHA_256, SCRAM_SHA_256_PLUS, ScramSha256};
use postgres_protocol::message::frontend;
use secrecy::ExposeSecret;
use tokio::io::AsyncWriteExt;

use super::WireError;
use super::address::Address;
use super::binding::Binding;
use super::cancel::Key;
use super::inbox::{Frame, Inbox, refusal};
use super::socket::Socket;

const BROKEN: WireError = WireError::Protocol("an unexpected message while logging in");

/// Logs in; the key to cancel with, where the server gives one.
pub(super) async fn login(
    socket: &mut Socket,
    inbox: &mut Inbox,
    address: &Address,
    application_name: &str,
) -> Result<Option<Key>, WireError> {
    start(socket, address, application_name).await?;
    authenticate(socket, inbox, address).await?;
    let mut key = None;
    loop {
        match inbox.frame(socket).await? {
            Frame { tag: b'E', body } => return Err(refusal(body)),
            Frame { tag: b'N' | b'A', .. } => {}
            Frame { tag: b'S', body } => check_setting(body)?,
            Frame { tag: b'K', body } => {
                let (process, secret) = body.split_first_chunk::<4>().ok_or(BROKEN)?;
                let secret: [u8; 4] = secret.try_into().map_err(|_| BROKEN)?;
                key = Some(Key { process: i32::from_be_bytes(*process), secret: i32::from_be_bytes(secret) });
            }
            Frame { tag: b'Z', .. } => return Ok(key),
            Frame { .. } => return Err(BROKEN),
        }
    }
}

/// Names the user, the database and settings: those that sqlx sends, so that all sessions are alike.
async fn start(socket: &mut Socket, address: &Address, application_name: &str) -> Result<(), WireError> {
    let mut parameters = vec![
        ("user", address.user.as_str()),
        ("client_encoding", "UTF8"),
        ("DateStyle", "ISO, MDY"),
        ("TimeZone", "UTC"),
        ("extra_float_digits", "2"),
        ("application_name", application_name),
    ];
    parameters.extend(address.database.as_deref().map(|database| ("database", database)));
    parameters.extend(address.options.as_deref().map(|options| ("options", options)));
    let mut message = BytesMut::new();
    frontend::startup_message(parameters, &mut message).map_err(|_| WireError::Login("a name with a NUL"))?;
    socket.write_all(&message).await?;
    socket.flush().await?;
    Ok(())
}

/// Settings that the bytes of a binary COPY depend on, and that a session cannot always choose: a server, or a
/// pooler between, that has them otherwise cannot be read.
fn check_setting(body: &[u8]) -> Result<(), WireError> {
    let mut parts = body.split(|&byte| byte == 0);
    match (parts.next(), parts.next()) {
        (Some(b"integer_datetimes"), Some(value)) if value != b"on" => {
            Err(WireError::Protocol("timestamps as floating point numbers"))
        }
        (Some(b"client_encoding"), Some(value)) if value != b"UTF8" && value != b"UNICODE" => {
            Err(WireError::Protocol("texts in another encoding than UTF-8"))
        }
        _ => Ok(()),
    }
}

/// What the server wants, out of the message in which it says so.
enum Wanted {
    Nothing,
    Cleartext,
    Md5([u8; 4]),
    Scram(Scram),
}

/// The mechanisms of SASL that the server offers, of those that are known here.
struct Scram {
    plain: bool,
    bound: bool,
}

fn wanted(body: &[u8]) -> Result<Wanted, WireError> {
    let (kind, rest) = body.split_first_chunk::<4>().ok_or(BROKEN)?;
    match i32::from_be_bytes(*kind) {
        0 => Ok(Wanted::Nothing),
        3 => Ok(Wanted::Cleartext),
        5 => Ok(Wanted::Md5(rest.try_into().map_err(|_| BROKEN)?)),
        10 => {
            let offers = |name: &str| rest.split(|&byte| byte == 0).any(|offered| offered == name.as_bytes());
            Ok(Wanted::Scram(Scram { plain: offers(SCRAM_SHA_256), bound: offers(SCRAM_SHA_256_PLUS) }))
        }
        _ => Err(WireError::Login("the server asks for a way to log in that is not known here; passwords are")),
    }
}

/// The body of the server's next word on logging in.
async fn word<'a>(socket: &mut Socket, inbox: &'a mut Inbox) -> Result<&'a [u8], WireError> {
    match inbox.frame(socket).await? {
        Frame { tag: b'R', body } => Ok(body),
        Frame { tag: b'E', body } => Err(refusal(body)),
        Frame { .. } => Err(BROKEN),
    }
}

async fn authenticate(socket: &mut Socket, inbox: &mut Inbox, address: &Address) -> Result<(), WireError> {
    let password = address.password.expose_secret().as_bytes();
    let mut message = BytesMut::new();
    match wanted(word(socket, inbox).await?)? {
        Wanted::Nothing => return Ok(()),
        Wanted::Cleartext => frontend::password_message(password, &mut message)?,
        Wanted::Md5(salt) => {
            let hash = md5_hash(address.user.as_bytes(), password, salt);
            frontend::password_message(hash.as_bytes(), &mut message)?;
        }
        Wanted::Scram(offered) => scram(socket, inbox, &offered, password).await?,
    }
    if !message.is_empty() {
        send(socket, &message).await?;
    }
    match wanted(word(socket, inbox).await?)? {
        Wanted::Nothing => Ok(()),
        _ => Err(BROKEN),
    }
}

/// SCRAM-SHA-256, RFC 7677: neither side says the password, and the server proves that it knows it.
async fn scram(socket: &mut Socket, inbox: &mut Inbox, offered: &Scram, password: &[u8]) -> Result<(), WireError> {
    let (mechanism, binding) = match socket.binding() {
        Binding::EndPoint(hash) if offered.bound => (SCRAM_SHA_256_PLUS, ChannelBinding::tls_server_end_point(hash)),
        // Says that we could have: a server that offered it, to us or to somebody between, will know.
        Binding::EndPoint(_) => (SCRAM_SHA_256, ChannelBinding::unrequested()),
        Binding::Impossible => (SCRAM_SHA_256, ChannelBinding::unsupported()),
    };
    if mechanism == SCRAM_SHA_256 && !offered.plain {
        return Err(WireError::Login("the server offers no mechanism of SASL that is known here"));
    }
    let mut scram = ScramSha256::new(password, binding);
    let mut message = BytesMut::new();
    frontend::sasl_initial_response(mechanism, scram.message(), &mut message)?;
    send(socket, &message).await?;

    let Some((&[0, 0, 0, 11], challenge)) = word(socket, inbox).await?.split_first_chunk() else { return Err(BROKEN) };
    scram.update(challenge).map_err(|_| BROKEN)?;
    message.clear();
    frontend::sasl_response(scram.message(), &mut message)?;
    send(socket, &message).await?;

    let Some((&[0, 0, 0, 12], proof)) = word(socket, inbox).await?.split_first_chunk() else { return Err(BROKEN) };
    scram.finish(proof).map_err(|_| WireError::Login("the server does not know the password either"))
}

async fn send(socket: &mut Socket, message: &[u8]) -> Result<(), WireError> {
    socket.write_all(message).await?;
    socket.flush().await?;
    Ok(())
}

use super::*;

#[test]
fn without_ipv6_any_address_is_that_of_ipv4() {
    let any: SocketAddr = "[::]:80".parse().unwrap();
    for code in [libc::EAFNOSUPPORT, libc::EADDRNOTAVAIL] {
        let listen = |address: SocketAddr| match address.is_ipv4() {
            true => Ok(address),
            false => Err(io::Error::from_raw_os_error(code)),
        };
        assert_eq!(or_ipv4(any, listen).unwrap(), "0.0.0.0:80".parse().unwrap());
        // Another address was meant as it is.
        let error = or_ipv4("[::1]:80".parse().unwrap(), listen).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(code));
    }
    // Another error is no lack of IPv6.
    let error = or_ipv4::<()>(any, |_| Err(io::Error::from_raw_os_error(libc::EACCES))).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::EACCES));
}

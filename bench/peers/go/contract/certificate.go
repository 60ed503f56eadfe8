package contract

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"errors"
	"math/big"
	"time"
)

// protocol is what both sides name in ALPN.
const protocol = "bench"

// ServerTLS returns a TLS 1.3 configuration with a certificate of its own (P-256) and the pin that a
// client needs to know it by.
func ServerTLS() (*tls.Config, string, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, "", err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		Subject:      pkix.Name{CommonName: protocol},
		DNSNames:     []string{protocol},
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().Add(24 * time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, "", err
	}
	digest := sha256.Sum256(der)
	return &tls.Config{
		Certificates:           []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}},
		NextProtos:             []string{protocol},
		MinVersion:             tls.VersionTLS13,
		SessionTicketsDisabled: true,
	}, hex.EncodeToString(digest[:]), nil
}

// ClientTLS returns a configuration that takes the certificate with the pin of the offer alone.
func ClientTLS(offer map[string]any) (*tls.Config, error) {
	pin, ok := offer["pin"].(string)
	if !ok {
		return nil, errors.New("the offer has no pin")
	}
	return &tls.Config{
		ServerName:         protocol,
		NextProtos:         []string{protocol},
		MinVersion:         tls.VersionTLS13,
		InsecureSkipVerify: true, // The pin below says more than a chain of one would.
		VerifyConnection: func(state tls.ConnectionState) error {
			digest := sha256.Sum256(state.PeerCertificates[0].Raw)
			if hex.EncodeToString(digest[:]) != pin {
				return errors.New("the certificate is not the pinned one")
			}
			return nil
		},
	}, nil
}

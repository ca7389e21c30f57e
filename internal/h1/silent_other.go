//go:build !unix

package h1

import "net"

// supported: there is no way to look at an idle connection here.
const supported = false

type silence struct{}

func listenTo(net.Conn) *silence { return nil }

func (*silence) holds() bool { return false }

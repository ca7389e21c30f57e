package subprocess

import (
	"errors"
	"math/rand/v2"
	"net"
	"strconv"
)

// FreePort finds a port to listen on below those that the system gives to
// connections, so that none takes it while a process is down that is to be started
// again.
func FreePort() (int, error) {
	for range 1000 {
		port := 20_000 + rand.IntN(10_000)
		l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		if err == nil {
			return port, l.Close()
		}
	}
	return 0, errors.New("no port is free")
}

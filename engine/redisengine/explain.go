package redisengine

import (
	"context"
	"errors"
	"fmt"
	"strings"
)

// errOtherProtocol is the reason why there is no connection to what is no Redis server,
// such as a web server, or to one that expects TLS.
var errOtherProtocol = errors.New("what answers there does not speak the protocol of Redis: is it another kind of server, or does it expect TLS (rediss://)?")

// otherProtocol reports an error of the client that means that the server speaks
// another protocol. The client has no value for it.
func otherProtocol(err error) bool {
	return err != nil && strings.Contains(err.Error(), "received unknown message type")
}

// explain says what an error of the client means to those who named the server.
func explain(err error, overTLS bool) error {
	switch {
	case otherProtocol(err):
		return errOtherProtocol
	case overTLS && errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("it did not answer in time: does it speak TLS, which rediss:// is for? (%w)", err)
	}
	return err
}

package redisengine

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/redis/rueidis"
)

// clientOption reads a URL as Open documents it. Errors do not repeat the URL,
// which may hold a password.
func clientOption(text string) (rueidis.ClientOption, error) {
	o := defaults()
	scheme, rest, ok := strings.Cut(text, "://")
	if !ok {
		return o, errors.New("the URL must start like redis://")
	}
	scheme, mode, _ := strings.Cut(scheme, "+")
	switch scheme {
	case "redis", "valkey":
	case "rediss", "valkeys":
		o.TLSConfig = &tls.Config{MinVersion: tls.VersionTLS12}
	default:
		return o, errors.New("the URL must start with redis, rediss, redis+sentinel, rediss+sentinel, redis+cluster or rediss+cluster")
	}
	rest, query, _ := strings.Cut(rest, "?")
	// Passwords may hold a slash, hosts may not.
	at := strings.LastIndexByte(rest, '@')
	user, rest := rest[:max(at, 0)], rest[at+1:]
	hosts, path, _ := strings.Cut(rest, "/")
	var err error
	if o.Username, o.Password, err = credentials(user); err != nil {
		return o, err
	}
	port := "6379"
	var path1, path2 string
	switch mode {
	case "":
		path2 = path
	case "cluster":
		if path2 = path; path2 != "" && path2 != "0" {
			return o, errors.New("a cluster has no database but 0")
		}
	case "sentinel":
		port = "26379"
		path1, path2, _ = strings.Cut(path, "/")
		if o.Sentinel.MasterSet, err = url.PathUnescape(path1); err != nil || path1 == "" {
			return o, errors.New("the URL must name the master that the Sentinels watch: redis+sentinel://host:26379/master")
		}
		o.Sentinel.TLSConfig = o.TLSConfig
	default:
		return o, fmt.Errorf("the URL must not start with %s+%s", scheme, mode)
	}
	if path2 != "" {
		if o.SelectDB, err = strconv.Atoi(path2); err != nil || o.SelectDB < 0 {
			return o, errors.New("what follows the hosts in the URL must be the number of a database")
		}
	}
	for host := range strings.SplitSeq(hosts, ",") {
		addr, err := address(host, port)
		if err != nil {
			return o, err
		}
		o.InitAddress = append(o.InitAddress, addr)
	}
	return o, readQuery(&o, query)
}

// defaults are the settings of connections. One that is dead is noticed within
// ten seconds or so, and an idle one costs a PING every five.
func defaults() rueidis.ClientOption {
	o := rueidis.ClientOption{
		ClientName:        "toot",
		ClientSetInfo:     rueidis.DisableClientSetInfo, // Redis 7.0 does not know it
		Dialer:            net.Dialer{Timeout: 3 * time.Second, KeepAlive: 5 * time.Second},
		ConnWriteTimeout:  5 * time.Second,
		PipelineMultiplex: -1, // one connection, so that batches keep each other company
		DisableCache:      true,
		DisableRetry:      true, // it has no end for what only reads; see try
	}
	o.Sentinel.Dialer = o.Dialer
	o.Sentinel.TopologyRefreshInterval = 5 * time.Second
	o.ClusterOption.ShardsRefreshInterval = 20 * time.Second
	return o
}

func credentials(user string) (name, password string, err error) {
	name, password, _ = strings.Cut(user, ":")
	name, err1 := url.PathUnescape(name)
	password, err2 := url.PathUnescape(password)
	if err1 != nil || err2 != nil {
		return "", "", errors.New("user or password in the URL are not escaped as they must be")
	}
	return name, password, nil
}

func address(host, port string) (string, error) {
	if host == "" {
		host = "localhost"
	}
	if h, p, err := net.SplitHostPort(host); err == nil {
		host, port = h, p
	}
	host = strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
	if n, err := strconv.Atoi(port); err != nil || n < 1 || n > 65535 {
		return "", errors.New("the URL has a port that is none")
	}
	return net.JoinHostPort(host, port), nil
}

func readQuery(o *rueidis.ClientOption, query string) error {
	values, err := url.ParseQuery(query)
	if err != nil {
		return errors.New("what follows the ? in the URL is not escaped as it must be")
	}
	for name := range values {
		value := values.Get(name)
		switch name {
		case "password_file":
			if o.Password != "" {
				return errors.New("the URL has a password and a password_file: leave out one of them")
			}
			if o.Password, err = passwordIn(value); err != nil {
				return err
			}
		case "sentinel_user":
			o.Sentinel.Username = value
		case "sentinel_password":
			o.Sentinel.Password = value
		case "skip_verify":
			if on, err := strconv.ParseBool(value); err != nil || on && o.TLSConfig == nil {
				return errors.New("skip_verify must be 1 or 0, and is for rediss")
			} else if on {
				o.TLSConfig.InsecureSkipVerify = true
			}
		default:
			return fmt.Errorf("the URL has an unknown setting %q", name)
		}
	}
	return nil
}

// passwordIn reads a password from a file, such as a secret that is mounted into
// a container. The end of its line is no part of it.
func passwordIn(file string) (string, error) {
	text, err := os.ReadFile(file) //nolint:gosec // G304: the operator names the file
	if err != nil {
		return "", fmt.Errorf("can't read the password_file that the URL names: %w", err)
	}
	password := strings.TrimRight(string(text), "\r\n")
	if password == "" {
		return "", errors.New("the password_file that the URL names is empty")
	}
	return password, nil
}

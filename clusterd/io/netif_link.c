/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "io/netif_priv.h"

#include <errno.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <string.h>
#include <sys/socket.h>

static int kind_info(const struct nlattr *info, void *data)
{
	char *kind = data;

	if (mnl_attr_get_type(info) == IFLA_INFO_KIND &&
	    mnl_attr_validate(info, MNL_TYPE_NUL_STRING) >= 0)
		(void)netif_copy(kind, NETIF_KIND_SIZE, mnl_attr_get_str(info));
	return MNL_CB_OK;
}

static int kind_msg(const struct nlmsghdr *nlh, void *data)
{
	const struct nlattr *attr;

	if (nlh->nlmsg_type != RTM_NEWLINK ||
	    mnl_nlmsg_get_payload_len(nlh) < sizeof(struct ifinfomsg))
		return MNL_CB_OK;
	mnl_attr_for_each(attr, nlh, sizeof(struct ifinfomsg))
		if (mnl_attr_get_type(attr) == IFLA_LINKINFO)
			mnl_attr_parse_nested(attr, kind_info, data);
	return MNL_CB_OK;
}

static struct nlmsghdr *link_request(void *buf, uint16_t type, const char *name)
{
	struct nlmsghdr *nlh = mnl_nlmsg_put_header(buf);

	nlh->nlmsg_type = type;
	nlh->nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK;
	mnl_nlmsg_put_extra_header(nlh, sizeof(struct ifinfomsg));
	mnl_attr_put_strz(nlh, IFLA_IFNAME, name);
	return nlh;
}

int netif_link_remove(const char *name, const char *kind)
{
	uint8_t req[NETIF_REQ_SIZE] __attribute__((aligned(MNL_ALIGNTO)));
	char now[NETIF_KIND_SIZE] = "";
	int err = netif_talk(link_request(req, RTM_GETLINK, name), kind_msg, now);

	/* Another kind of device: somebody took the name after ours had gone. */
	if (!err && strcmp(now, kind))
		return 0;
	if (!err)
		err = netif_talk(link_request(req, RTM_DELLINK, name), NULL, NULL);
	return err == -ENODEV ? 0 : err;
}

"""The words of the simulated log: 24 topics in 8 groups, title templates by kind of scene, and what may vary a word.

Everything here is ordinary vocabulary of its topic, so a pretrained text encoder that knows Chinese sees which texts
are close. No brand names. An entity never holds a comma, because a comma separates the entities of a list.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Topic:
    """One topic: its group (a coarse category), Chinese words in descending order of use, and a few English ones."""

    name: str
    group: int
    words: tuple[str, ...]
    english: tuple[str, ...]


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


def _topic(name: str, group: int, words: str, english: str) -> Topic:
    return Topic(name, group, _words(words), tuple(english.split("|")))


TOPICS: tuple[Topic, ...] = (
    _topic(
        "food",
        0,
        """
            火锅 烧烤 自助餐 小龙虾 麻辣烫 川菜 粤菜 牛排 寿司 披萨 汉堡 炸鸡 饺子 拉面 米线 烤鱼 酸菜鱼
            卤味 早餐 包子 煎饼 螺蛳粉 盖浇饭 外卖 家常菜 海鲜大排档 烤鸭 串串香 冒菜 快餐 西餐厅 日料
            韩式烤肉 夜宵 私房菜 团餐 面馆 茶餐厅 烤全羊 凉皮
        """,
        "hot pot|barbecue|fried chicken|steak house|sushi|noodle soup",
    ),
    _topic(
        "drinks",
        0,
        """
            奶茶 咖啡 拿铁 果茶 柠檬茶 鲜榨果汁 冰淇淋 蛋糕 甜品 面包 美式咖啡 气泡水 酸奶 杨枝甘露 珍珠奶茶
            绿茶 普洱茶 乌龙茶 红酒 精酿啤酒 鸡尾酒 豆浆 椰子水 抹茶 泡芙 蛋挞 冰粉 双皮奶 下午茶 烘焙
            提拉米苏 咖啡豆 手冲咖啡 可可 苏打水 龟苓膏 月饼 曲奇 马卡龙 茶叶
        """,
        "milk tea|coffee|iced latte|birthday cake|craft beer|ice cream",
    ),
    _topic(
        "groceries",
        0,
        """
            蔬菜 水果 鸡蛋 牛奶 大米 食用油 猪肉 牛肉 海鲜 零食 坚果 方便面 超市 菜市场 生鲜配送 西瓜 草莓
            车厘子 榴莲 苹果 土豆 西红柿 鸡胸肉 三文鱼 大闸蟹 冷冻水饺 调味料 酱油 面粉 洗衣液 纸巾 垃圾袋
            便利店 社区团购 有机蔬菜 饼干 薯片 巧克力 火腿 矿泉水
        """,
        "fresh fruit|vegetables|supermarket|organic eggs|snacks|seafood market",
    ),
    _topic(
        "travel",
        1,
        """
            酒店 民宿 机票 景点门票 跟团游 自由行 海岛度假 温泉 古镇 露营 自驾游 签证 邮轮 滑雪场 动物园
            主题乐园 博物馆 爬山 草原 沙漠 看海 潜水 亲子游 周边游 旅行攻略 行李箱 旅拍 青年旅舍 度假村 漂流
            徒步 雪山 日出 房车 赶海 避暑 赏花 游船 古城 国家公园
        """,
        "hotel booking|island holiday|camping|flight tickets|ski resort|road trip",
    ),
    _topic(
        "transit",
        1,
        """
            地铁 公交 乘车码 共享单车 打车 火车票 高铁 汽车票 顺风车 公交卡充值 代驾 电动车换电 网约车
            航班动态 候车 路线查询 末班车 城际列车 机场大巴 轮渡 班车 月票 步行导航 限行 实时公交 出租车
            骑行卡 换乘 候补购票 退票 改签 学生票 通勤 站点查询 早高峰 快线 磁悬浮 电动自行车 有轨电车 拼车
        """,
        "metro card|bus timetable|bike sharing|train tickets|taxi|airport shuttle",
    ),
    _topic(
        "cars",
        1,
        """
            加油 洗车 停车 充电桩 新能源汽车 二手车 车险 保养 轮胎 违章查询 驾照 学车 高速通行费 汽车美容
            行车记录仪 越野车 轿车 试驾 摩托车 年检 换机油 车贷 改装 刹车片 电池 车载香薰 儿童安全座椅
            救援拖车 油价 租车 驾校 科目二 车膜 座椅套 玻璃水 电动汽车 混动 皮卡 房车改造 车位
        """,
        "electric car|car wash|parking|test drive|tyre change|driving school",
    ),
    _topic(
        "games",
        2,
        """
            手游 消除游戏 养成游戏 角色扮演 射击游戏 棋牌 斗地主 麻将 象棋 解谜 赛车游戏 电竞 皮肤 抽卡 副本
            游戏攻略 开黑 策略游戏 模拟经营 塔防 沙盒 主机游戏 游戏手柄 直播 排位赛 农场游戏 跑酷 益智
            剧本杀 密室逃脱 桌游 游戏充值 礼包码 单机游戏 格斗 钓鱼游戏 猜词 连连看 数独 五子棋
        """,
        "puzzle game|racing game|esports|chess|role playing|strategy game",
    ),
    _topic(
        "film",
        2,
        """
            电影 电影票 电视剧 综艺 动漫 纪录片 悬疑片 喜剧 科幻片 爱情片 古装剧 短剧 影评 预告片 演员 导演
            首映 影院 追剧 动作片 恐怖片 脱口秀 相声 小品 会员影视 票房 经典老片 武侠 谍战剧 家庭剧 话剧
            舞台剧 配音 番剧 剧情解说 电影节 战争片 青春片 动画电影 儿童剧
        """,
        "movie tickets|sci-fi film|comedy show|drama series|anime|documentary",
    ),
    _topic(
        "music",
        2,
        """
            演唱会 流行歌曲 民谣 说唱 古典音乐 钢琴 吉他 广场舞 街舞 翻唱 歌单 音乐节 戏曲 京剧 乐队
            唱歌技巧 儿歌 摇滚 电子音乐 舞蹈教学 小提琴 古筝 架子鼓 二胡 黑胶唱片 卡拉OK 合唱 粤语老歌
            声乐课 芭蕾 拉丁舞 爵士乐 轻音乐 伴奏 作曲 乐谱 民族舞 口琴 尤克里里 葫芦丝
        """,
        "live concert|guitar lesson|pop songs|jazz|street dance|piano",
    ),
    _topic(
        "finance",
        3,
        """
            基金 股票 黄金 理财产品 定期存款 信用卡 贷款 余额 债券 养老金 基金定投 外汇 记账 利率 还款 分期
            征信 银行转账 股市行情 国债 零钱理财 工资卡 财富课堂 指数基金 货币基金 投资组合 通货膨胀 期货
            可转债 年化收益 资产配置 消费券 账单 汇率 退税 个人养老 财经新闻 创业板 分红 止盈
        """,
        "index fund|gold price|credit card|savings|stock market|loan",
    ),
    _topic(
        "insurance",
        3,
        """
            医疗险 重疾险 意外险 养老保险 寿险 少儿保险 理赔 保单 旅行险 宠物保险 家财险 惠民保 社保
            住院津贴 百万医疗 运费险 年金险 防癌险 投保 续保 车损险 第三者责任险 免赔额 健康告知 保险顾问
            退保 受益人 老人保险 航班延误险 手机碎屏险 账户安全险 门诊险 护理险 失能险 团体险 雇主责任
            定期寿险 增额寿 保费 保障计划
        """,
        "health insurance|accident cover|pension plan|travel cover|claims|life insurance",
    ),
    _topic(
        "utilities",
        3,
        """
            话费充值 电费 水费 燃气费 宽带 流量包 物业费 取暖费 有线电视 快递 寄件 家政保洁 搬家 开锁
            家电维修 手机维修 洗衣 上门回收 旧衣回收 垃圾分类 管道疏通 缴费提醒 快递柜 水电查询 月嫂 钟点工
            擦玻璃 空调清洗 油烟机清洗 除甲醛 维修师傅 送水 号码办理 国际快递 同城跑腿 电子发票 充电宝 打印
            证件照 废品回收
        """,
        "phone top-up|electricity bill|parcel delivery|house cleaning|broadband|laundry",
    ),
    _topic(
        "health",
        4,
        """
            体检 挂号 感冒药 维生素 口腔护理 牙医 眼科 中医 针灸 血压计 血糖 睡眠 失眠 养生 疫苗 口罩 核酸
            皮肤科 心理咨询 药店 益生菌 钙片 颈椎 腰椎 按摩 过敏 减脂餐 护眼 膝盖 儿科 复诊 在线问诊 胃病
            痛风 艾灸 体温计 蛋白粉 洗牙 近视 康复
        """,
        "health check|dentist|vitamins|sleep better|vaccine|online doctor",
    ),
    _topic(
        "sports",
        4,
        """
            跑步 健身房 瑜伽 篮球 足球 羽毛球 游泳 乒乓球 马拉松 骑行 跳绳 网球 健身操 减肥 力量训练 拉伸
            普拉提 滑板 攀岩 台球 运动鞋 世界杯 步数 太极拳 拳击 冲浪 滑雪 飞盘 排球 高尔夫 户外徒步 俯卧撑
            腹肌 私教课 球赛直播 运动手表 马甲线 壶铃 橄榄球 击剑
        """,
        "running|yoga class|basketball|swimming|marathon|gym workout",
    ),
    _topic(
        "beauty",
        4,
        """
            口红 面膜 防晒霜 护肤 粉底液 美甲 美发 烫发 香水 眼影 洗面奶 精华液 染发 植发 脱毛 卸妆 眉毛
            睫毛 身体乳 祛痘 美白 抗皱 面霜 化妆教程 发型 洗发水 护发素 剃须刀 医美 双眼皮 皮肤管理 爽肤水
            腮红 修容 遮瑕 美容仪 眼霜 护手霜 纹眉 头皮护理
        """,
        "lipstick|sunscreen|face mask|perfume|hair salon|skin care",
    ),
    _topic(
        "parenting",
        5,
        """
            奶粉 纸尿裤 婴儿车 辅食 早教 绘本 玩具 积木 孕妇 产检 母婴用品 儿童乐园 亲子餐厅 幼儿园 童装
            宝宝睡袋 奶瓶 胎教 育儿经验 儿童牙刷 安抚奶嘴 幼儿英语 儿童摄影 月子中心 新生儿 断奶 学步车 拼图
            爬行垫 儿童滑板车 母乳 宝宝游泳 儿童水杯 叛逆期 二胎 儿童故事 抱被 婴儿床 疫苗本 托管班
        """,
        "baby formula|toddler toys|picture book|stroller|kids park|pregnancy",
    ),
    _topic(
        "pets",
        5,
        """
            猫粮 狗粮 猫砂 宠物医院 宠物洗澡 金毛 柯基 布偶猫 橘猫 宠物玩具 驱虫 遛狗 猫抓板 仓鼠 鹦鹉 金鱼
            宠物寄养 宠物领养 训犬 牵引绳 宠物零食 猫爬架 兔子 乌龟 宠物美容 绝育 猫罐头 自动喂食器 水族箱
            泰迪 哈士奇 英短 流浪猫 宠物摄影 狗窝 龙猫 爬宠 蜥蜴 萌宠 猫薄荷
        """,
        "cat food|puppy|pet hospital|dog training|kitten|aquarium",
    ),
    _topic(
        "home",
        5,
        """
            沙发 床垫 窗帘 装修 空调 冰箱 洗衣机 电饭煲 扫地机器人 热水器 台灯 衣柜 收纳 地毯 餐桌 厨房
            油烟机 净水器 空气炸锅 吸尘器 马桶 瓷砖 地板 枕头 四件套 书桌 投影仪 加湿器 电风扇 微波炉
            智能门锁 壁纸 吊灯 砂锅 刀具 保温杯 晾衣架 洗碗机 烤箱 全屋定制
        """,
        "sofa|mattress|air conditioner|kitchen|robot vacuum|home decor",
    ),
    _topic(
        "fashion",
        6,
        """
            连衣裙 T恤 牛仔裤 运动套装 羽绒服 衬衫 西装 高跟鞋 帆布鞋 手提包 双肩包 帽子 围巾 项链 耳环 手表
            太阳镜 汉服 内衣 袜子 睡衣 凉鞋 半身裙 防晒衣 穿搭 皮带 戒指 旗袍 风衣 毛衣 皮鞋 童鞋 泳衣 短裤
            开衫 手链 钱包 胸针 马丁靴 古着
        """,
        "summer dress|sneakers|handbag|jeans|sunglasses|jewelry",
    ),
    _topic(
        "digital",
        6,
        """
            手机 平板电脑 笔记本电脑 耳机 充电器 相机 智能手表 键盘 鼠标 显示器 路由器 数据线 手机壳 音箱
            移动硬盘 无人机 显卡 以旧换新 钢化膜 电子书 打印机 摄像头 蓝牙音箱 内存条 处理器 游戏本 折叠屏
            智能家居 录音笔 运动相机 电视盒子 芯片 人工智能 应用测评 拍照技巧 换电池 固态硬盘 机械键盘
            三脚架 手写笔
        """,
        "smartphone|laptop|headphones|camera|smart watch|drone",
    ),
    _topic(
        "gardening",
        6,
        """
            多肉 绿萝 月季 花盆 营养土 种菜 果树 鲜花 玫瑰 兰花 盆栽 浇水 修剪 阳台花园 种子 肥料 除草
            园艺工具 向日葵 绣球花 发财树 君子兰 郁金香 插花 水培 葡萄树 草坪 庭院 农具 大棚 仙人掌 百合
            茉莉花 扦插 驱蚊草 绿植租摆 花店 薄荷 盆景 认养果树
        """,
        "succulents|rose garden|house plants|flower shop|vegetable seeds|orchid",
    ),
    _topic(
        "education",
        7,
        """
            英语学习 考研 公务员考试 数学 作文 编程课 高考 成绩查询 网课 单词 口语 教师资格证 会计证 书法
            画画 小学语文 中考 留学 雅思 物理 化学 历史 志愿填报 图书馆 自习室 题库 四六级 驾考题库 普通话
            日语 奥数 职业技能 建造师 论文 在线课堂 古诗 科普 思维导图 家教 夏令营
        """,
        "learn English|exam prep|coding class|study abroad|maths|library",
    ),
    _topic(
        "government",
        7,
        """
            社保查询 公积金 身份证 居住证 户口 护照 结婚登记 出入境 税务 个税申报 医保 电子社保卡 政务大厅
            营业执照 落户 低保 残疾证 老年卡 法律咨询 志愿服务 献血 公证 生育登记 档案 失业金 养老认证
            投诉举报 人才补贴 户籍 电子证照 婚姻登记 港澳通行证 征兵 驾驶证换证 不动产登记 医保电子凭证
            司法援助 便民热线 入学登记 电子签名
        """,
        "social security|passport|tax return|public service|legal aid|volunteer",
    ),
    _topic(
        "housing",
        7,
        """
            租房 二手房 新房 公寓 合租 房贷 中介 学区房 看房 房价 短租 写字楼 物业 小区 装修贷款 样板间 户型
            精装修 买房 卖房 房产证 落户政策 商铺 车库 长租公寓 整租 押金 楼盘 首付 契税 阁楼 别墅 廉租房
            房屋估价 毛坯房 过户 验房 公积金贷款 地铁房 老房改造
        """,
        "apartment rent|new homes|mortgage|house viewing|flat share|office space",
    ),
)

# Topics that a kind of scene has more items of, and that draw more impressions there.
SCENE_TOPICS: tuple[tuple[str, ...], ...] = (
    ("finance", "insurance", "games", "digital", "fashion", "cars", "education", "beauty"),  # advertisements
    ("food", "drinks", "groceries", "film", "beauty", "utilities", "travel", "fashion"),  # coupons
    ("transit", "utilities", "government", "health", "finance", "games", "cars", "education"),  # mini-programs
    ("finance", "health", "parenting", "travel", "education", "home", "sports", "housing"),  # contents
    ("film", "music", "pets", "games", "sports", "food", "beauty", "gardening"),  # videos
)

STYLES: tuple[str, ...] = ("plain", "offer", "question", "number", "feeling", "english")

# Titles by kind of scene and style. {w}, {v}: words of the item's topics; {m}: a manner; {c}: a city; {n}: a number.
TEMPLATES: tuple[dict[str, tuple[str, ...]], ...] = (
    {
        "plain": ("{w}官方推荐", "{m}{w},就选这一家", "{c}{w}服务中心", "{w}与{v}一站式平台"),
        "offer": ("{w}限时优惠,立减{n}元", "新人专享{w}大礼包", "{w}首单{n}元起,今天截止", "免费领取{w}体验名额"),
        "question": ("还在为{w}发愁吗?", "{w}怎么选才划算?", "你的{w}真的合适吗"),
        "number": ("{n}万人都在用的{w}", "{w}热销榜前{n}名", "每天{n}分钟,搞定{w}"),
        "feeling": ("终于等到你,{m}{w}", "错过{w}会后悔", '"{w}"原来可以这么省心'),
        "english": ("{e}: try it free today", "Best {e} deals, up to {n}% off"),
    },
    {
        "plain": ("{w}代金券", "{c}{w}通用券", "{w}{v}组合券", "{m}{w}兑换券"),
        "offer": ("{w}满{n}0减{n}", "{w}{n}折起", "{w}第二件半价", "{c}{w}买一送一", "{w}无门槛红包{n}元"),
        "question": ("今天吃点{w}?", "想要{w}吗?领券更便宜"),
        "number": ("{n}元{w}抵用券", "{w}{n}人团购券", "{n}张{w}神券任选"),
        "feeling": ("{w}自由从这张券开始", "犒劳自己,{m}{w}券", '"{w}"控必领'),
        "english": ("{e} voucher, save {n} yuan", "{n}% off {e}"),
    },
    {
        "plain": ("{w}", "{c}{w}", "{w}查询", "{w}助手", "{m}{w}", "{c}{w}服务平台"),
        "offer": ("{w}每日红包", "{w}签到有礼", "{w}会员日"),
        "question": ("{w}在哪里办?", "附近有{w}吗"),
        "number": ("{w}{n}秒办理", "{w}100{n}"),
        "feeling": ("放心{w}", "{w}小管家"),
        "english": ("{e}", "{e} mini app", "{e} helper {n}"),
    },
    {
        "plain": ("{w}入门指南", "关于{w}与{v}的那些事", "{c}{w}最新消息", "一文读懂{m}{w}", "{w}:过去,现在和将来"),
        "offer": ("省钱攻略:{w}这样买最便宜", "{w}又降价了,值不值得入手"),
        "question": ("为什么越来越多人喜欢{w}?", "{w}和{v}哪个更好?", "{w}真的有用吗?专家这样说"),
        "number": ("{n}个{w}小技巧,最后一个很少人知道", "{w}的{n}大误区", "看完这{n}点再决定{w}"),
        "feeling": ("写给喜欢{w}的你", "我和{w}的{n}年", '他说:"{w}改变了我的生活"'),
        "english": ("{n} things to know about {e}", "A beginner's guide to {e}, in plain words"),
    },
    {
        "plain": ("{w}日常", "{c}{w}实拍", "{m}{w}全过程", "{w}和{v}现场"),
        "offer": ("{n}元买到的{w}到底怎么样", "{w}省钱妙招"),
        "question": ("这是什么神仙{w}?", "{w}还能这样玩?", "猜猜这个{w}值多少钱"),
        "number": ("{w}合集第{n}期", "一口气看完{n}个{w}", "挑战{n}天{w}"),
        "feeling": ("{w}太治愈了", "看一次笑一次,{m}{w}", '"{w}"名场面'),
        "english": ("{e} vlog #{n}", "Amazing {e}, wait for it"),
    },
)

MANNERS: tuple[str, ...] = _words(
    """
    全新 人气 精选 本地 高端 平价 网红 新手 家庭 学生 周末 夏日 经典 品质 轻松 快速 放心 老牌 进口 国产 极简
    宝藏 冷门 热门 小众
    """
)
CITIES: tuple[str, ...] = _words(
    """
    北京 上海 广州 深圳 杭州 成都 重庆 武汉 西安 南京 苏州 长沙 郑州 青岛 厦门 昆明 天津 合肥 福州 济南 宁波
    大连 沈阳 南昌 贵阳 哈尔滨 三亚 桂林 温州 佛山
    """
)
# What follows a word in an entity of its own: 火锅 -> 火锅推荐, 火锅价格 ...
SUFFIXES: tuple[str, ...] = _words(
    """
    推荐 价格 优惠 教程 测评 攻略 排行榜 附近 预约 专家 入门 技巧 会员 套餐 问答 同城 直播 品牌 批发 新品
    """
)
ALTERED: tuple[str, ...] = ("{t}（新版）", "【{c}】{t}", "{t}……", "{t} | {m}")
